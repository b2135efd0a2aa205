"""Receipts: what was published of a shard, as its bytes themselves tell it."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import (
    BaseModel,
    SerializerFunctionWrapHandler,
    computed_field,
    model_serializer,
    model_validator,
)

from factory.errors import DamagedShard, counted
from factory.scores import Score
from factory.shards.columns import SCORE_COLUMNS
from factory.shards.mask_files import Read
from factory.shards.plan import Plan, ShardSpec, canonical
from factory.shards.schema import check_sample, sample_key

NUM_QUANTILES = 20
"""A receipt keeps at most so many quantiles of uncertainty, so that readers know the range and the
shares of a dataset without reading its shards."""

MadeWith = dict[str, str]
"""Hardware and versions of libraries by short names, such as {"cpu": ..., "torch": ...}."""


class Hardware(BaseModel, frozen=True, extra="forbid"):
    """The hardware of the first process that made shards of a dataset."""

    probe: str
    """The sha256 of a small batch made there; a process that gets another one rounds otherwise."""
    made_with: MadeWith
    host: str


class Written(BaseModel, frozen=True, extra="forbid"):
    """A model that is written without the fields that are None, which files of older code lack."""

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


@dataclass(frozen=True)
class Circumstances:
    """The part of a receipt that a shard's bytes do not tell."""

    seconds: float
    """The time that the shard took from its first noise to its last byte."""
    host: str
    made_with: MadeWith | None = None
    redrawn: int = 0
    """The number of samples that were drawn again because a first draw was not finite."""


class Receipt(Written, frozen=True):
    """A published shard. All of it follows from the plan except seconds, host and made_with."""

    run_id: str
    shard: int
    path: str
    rows: int
    bytes: int
    sha256: str
    first_key: str
    last_key: str
    class_pixels: list[int]
    """Pixels per class id; ignored pixels count for none."""
    uncertainty_mean: float
    uncertainty_max: float
    uncertainty_min: float | None = None
    """The smallest uncertainty; None in receipts of version 0.1."""
    uncertainty_quantiles: list[float] | None = None
    """The quantiles of the uncertainty, as `quantiles` returns them; None in receipts of version
    0.1."""
    hit_pixels: list[int] | None = None
    """Pixels per class id on which masks and those of the source agree; as the next two, None where
    they are not compared."""
    truth_pixels: list[int] | None = None
    """The compared pixels per class id of the source's masks."""
    predicted_pixels: list[int] | None = None
    """The compared pixels per class id of the masks."""
    redrawn: int = 0
    """The number of samples that were drawn again because a first draw was not finite."""
    seconds: float
    host: str
    made_with: MadeWith | None = None
    """Hardware and versions that made the shard; None in receipts of older code."""

    @model_validator(mode="before")
    @classmethod
    def _without_seal(cls, fields: object) -> object:
        # The seal is computed anew. A file with another one differs from the receipt's own bytes.
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
        """The sha256 of the content, which no longer fits a receipt that was altered."""
        return hashlib.sha256(canonical(self.content).encode()).hexdigest()


def described(made_with: MadeWith | None) -> str:
    """Hardware and versions on one line, for people."""
    return ", ".join(f"{name} {value}" for name, value in (made_with or {}).items()) or "not told"


def score_of(receipts: Iterable[Receipt]) -> Score | None:
    """The scores of all samples of the receipts; None where none of them is compared."""
    parts = ((each.hit_pixels, each.truth_pixels, each.predicted_pixels) for each in receipts)
    return Score.sum_of(part for part in parts if None not in part)


def kinds(receipts: Iterable[Receipt]) -> list[str]:
    """A line for each kind of hardware and versions that made shards, with their number if there
    are several kinds."""
    nums = Counter(described(receipt.made_with) for receipt in receipts)
    if len(nums) == 1:
        return list(nums)
    total = counted(nums.total(), "shard")
    return [f"{num:,} of {total}: {kind}" for kind, num in nums.most_common()]


def measure(plan: Plan, spec: ShardSpec, data: bytes, read: Read | None = None) -> dict[str, Any]:
    """The fields of a receipt's content that follow from the shard's bytes.

    read: as for `Plan.iterate`. Raises DamagedShard if they do not decode, or if rows, keys, ids or
    uncertainties are not those of the plan.
    """
    num_classes = len(plan.class_names)
    keys, uncertainties, pixels = [], [], []
    score_columns = SCORE_COLUMNS if plan.is_scored else ()
    compared: list[list[tuple[int, ...]]] = [[] for _ in score_columns]
    for sample in plan.iterate(data, read):
        check_sample(sample, num_classes, plan.channels, plan.is_scored)
        for counts, name in zip(compared, score_columns, strict=True):
            counts.append(getattr(sample, name))
        keys.append(sample.key)
        uncertainties.append(sample.uncertainty)
        pixels.append(sample.class_pixels(num_classes))
    if keys != [sample_key(i) for i in range(spec.start, spec.stop)]:
        raise DamagedShard(
            f"{spec.path}: {counted(len(keys), 'sample')} {keys[:1]}..{keys[-1:]}, expected "
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
        **{
            name: np.sum(counts, axis=0).tolist()
            for name, counts in zip(score_columns, compared, strict=True)
        },
    }


def quantiles(values: Sequence[float]) -> list[float]:
    """The middles of up to NUM_QUANTILES equal parts of the sorted values, each of which stands for
    its part; all values if they are no more than that."""
    ordered, num = sorted(values), min(len(values), NUM_QUANTILES)
    return [ordered[(2 * i + 1) * len(ordered) // (2 * num)] for i in range(num)]


def fits(receipt: Receipt, plan: Plan) -> bool:
    """True if the receipt is for a shard of the plan, at its path and with its samples."""
    if receipt.run_id != plan.run_id or not 0 <= receipt.shard < plan.num_shards:
        return False
    spec = plan.shard(receipt.shard)
    keys = sample_key(spec.start), sample_key(spec.stop - 1)
    return (
        receipt.path == spec.path
        and receipt.rows == spec.stop - spec.start
        and (receipt.first_key, receipt.last_key) == keys
        and len(receipt.class_pixels) == len(plan.class_names)
        and (receipt.hit_pixels is not None) == plan.is_scored
    )
