"""What was published of a dataset: a receipt a shard, and the manifest that sums them up."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from pydantic import (
    BaseModel,
    SerializerFunctionWrapHandler,
    ValidationError,
    computed_field,
    model_serializer,
    model_validator,
)

from factory import storage
from factory.errors import DamagedShard, UserError
from factory.shards.plan import Plan, ShardSpec, canonical
from factory.shards.schema import check_sample, sample_key

NUM_READERS = 16
NUM_QUANTILES = 20
"""Values of uncertainty that a receipt keeps at most, so that readers know a dataset's range and
shares without reading its shards."""
SHARDS = "_factory/shards"

Model = TypeVar("Model", bound=BaseModel)
MadeWith = dict[str, str]
"""Hardware and versions of libraries by short names, such as {"cpu": ..., "torch": ...}."""


class _AsWritten(BaseModel, frozen=True, extra="forbid"):
    """Spelled without the fields that are None, which files of older code lack."""

    @model_serializer(mode="wrap")
    def _without_what_is_not_told(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


class Receipt(_AsWritten, frozen=True):
    """What was published: all of it follows from the plan, but seconds, host and made_with."""

    run_id: str
    shard: int
    path: str
    rows: int
    bytes: int
    sha256: str
    first_key: str
    last_key: str
    class_pixels: list[int]
    """Pixels per class id; ignored ones are in none."""
    uncertainty_mean: float
    uncertainty_max: float
    uncertainty_min: float | None = None
    """None in receipts of version 0.1."""
    uncertainty_quantiles: list[float] | None = None
    """Of `quantiles`; None in receipts of version 0.1."""
    redrawn: int = 0
    """Samples that were drawn again by rule, because a first draw was unfit."""
    seconds: float
    host: str
    made_with: MadeWith | None = None
    """Of the process that made the shard; None in receipts of older code."""

    @model_validator(mode="before")
    @classmethod
    def _without_seal(cls, fields: object) -> object:
        # Computed anew: where the file has another one, it is not spelled as this receipt is.
        if isinstance(fields, dict):
            return {name: value for name, value in fields.items() if name != "seal"}
        return fields

    @property
    def content(self) -> dict[str, Any]:
        """The part that every run of the plan reproduces."""
        return self.model_dump(mode="json", exclude={"seconds", "host", "made_with", "seal"})

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no property below a decorator
    @property
    def seal(self) -> str:
        """sha256 of the content: a receipt that was altered later does not fit it."""
        return hashlib.sha256(canonical(self.content).encode()).hexdigest()


class Manifest(_AsWritten, frozen=True):
    """The whole dataset on one page: whatever else is lost of the ledger follows from it."""

    run_id: str
    rows: int
    bytes: int
    root: str
    """sha256 over the receipts' content: equal roots, equal datasets."""
    plan: Plan
    config_yaml: str
    """`_factory/config.yaml`, word for word."""
    env_json: str
    """`_factory/env.json`, word for word."""
    hardware_json: str | None = None
    """`_factory/hardware.json`, word for word; None where older code made the dataset."""
    files: dict[str, str]
    """sha256 of every other file that was written, by name."""
    receipts: list[Receipt]


def described(made_with: MadeWith | None) -> str:
    """All of it on one line, for people."""
    return ", ".join(f"{name} {value}" for name, value in (made_with or {}).items()) or "not told"


def kinds(receipts: Iterable[Receipt]) -> list[str]:
    """What the shards were made with, a line each; how many with each where they were not alike."""
    counted = Counter(described(receipt.made_with) for receipt in receipts)
    if len(counted) == 1:
        return list(counted)
    total = counted.total()
    return [f"{num:,} of {total:,} shards: {told}" for told, num in counted.most_common()]


def root_of(receipts: list[Receipt]) -> str:
    """One hash over the content of receipts in order of their shards."""
    lines = "\n".join(canonical(receipt.content) for receipt in receipts)
    return hashlib.sha256(lines.encode()).hexdigest()


def measure(plan: Plan, spec: ShardSpec, data: bytes) -> dict[str, Any]:
    """The receipt's content as the bytes themselves tell it.

    Raises DamagedShard where they do not decode, or rows, keys, ids or uncertainties are not as
    the plan has them.
    """
    num_classes = len(plan.class_names)
    keys, uncertainties, pixels = [], [], []
    for sample in plan.iterate(data):
        check_sample(sample, num_classes)
        keys.append(sample.key)
        uncertainties.append(sample.uncertainty)
        pixels.append(sample.class_pixels(num_classes))
    if keys != [sample_key(i) for i in range(spec.start, spec.stop)]:
        raise DamagedShard(
            f"{spec.path}: {len(keys)} samples {keys[:1]}..{keys[-1:]}, expected "
            f"{spec.stop - spec.start} from {sample_key(spec.start)}"
        )
    return {
        "run_id": plan.run_id,
        "shard": spec.shard,
        "path": spec.path,
        "rows": len(keys),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "first_key": keys[0],
        "last_key": keys[-1],
        "class_pixels": np.sum(pixels, axis=0).tolist(),
        "uncertainty_mean": math.fsum(uncertainties) / len(keys),
        "uncertainty_max": max(uncertainties),
        "uncertainty_min": min(uncertainties),
        "uncertainty_quantiles": quantiles(uncertainties),
    }


def quantiles(values: Sequence[float]) -> list[float]:
    """The middles of up to NUM_QUANTILES equal parts of the values in order; each stands for its
    part. All of them where they are no more than that."""
    ordered, num = sorted(values), min(len(values), NUM_QUANTILES)
    return [ordered[(2 * i + 1) * len(ordered) // (2 * num)] for i in range(num)]


def receipt_name(shard: int) -> str:
    """Where a shard's receipt lies, relative to the dataset's place."""
    return f"{SHARDS}/{shard:05d}.json"


def fitting_receipts(url: str, plan: Plan) -> dict[int, Receipt]:
    """Receipts that fit the plan, by shard number; others count as missing.

    Costs one listing, and one small read a receipt that is there, many at once.
    """
    places = storage.list_files(storage.join(url, SHARDS), suffixes=[".json"])
    names = [storage.join(SHARDS, storage.name_of(place)) for place in places]
    with ThreadPoolExecutor(NUM_READERS) as pool:
        found = pool.map(lambda name: fitting_receipt(url, name, plan), names)
        return {receipt.shard: receipt for receipt in found if receipt is not None}


def fitting_receipt(url: str, name: str, plan: Plan) -> Receipt | None:
    """The receipt of this name; None where it is missing, damaged, or not the plan's."""
    try:
        content = storage.read_bytes(storage.join(url, name))
        receipt = Receipt.model_validate_json(content)
    except (FileNotFoundError, ValidationError):
        return None
    if content != to_json(receipt.model_dump(mode="json")):
        return None
    return receipt if fits(receipt, plan) and name == receipt_name(receipt.shard) else None


def fits(receipt: Receipt, plan: Plan) -> bool:
    """Whether it is for a shard of the plan, at its place, with its samples."""
    if receipt.run_id != plan.run_id or not 0 <= receipt.shard < plan.num_shards:
        return False
    spec = plan.shard(receipt.shard)
    keys = sample_key(spec.start), sample_key(spec.stop - 1)
    return (
        receipt.path == spec.path
        and receipt.rows == spec.stop - spec.start
        and (receipt.first_key, receipt.last_key) == keys
        and len(receipt.class_pixels) == len(plan.class_names)
    )


def read_model(url: str, name: str, kind: type[Model]) -> Model:
    """A JSON file of the dataset. Raises FileNotFoundError; UserError where it is damaged."""
    place = storage.join(url, name)
    try:
        return kind.model_validate_json(storage.read_bytes(place))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{place}: is damaged or of another version ({where or 'JSON'}: {first['msg']}). "
            "Restore the file, or choose another --out."
        ) from None


def to_json(content: object) -> bytes:
    """As the ledger writes it: for people, too."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
