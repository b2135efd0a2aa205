"""Receipts: what was published of a shard, as its bytes themselves tell it."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pydantic import (
    BaseModel,
    SerializerFunctionWrapHandler,
    computed_field,
    model_serializer,
    model_validator,
)

from factory.errors import counted
from factory.scores import Score
from factory.shards.canonical import canonical
from factory.shards.plan import DATA, Plan
from factory.shards.schema import sample_key
from factory.shards.splits import SPLITS, TRAIN, Split, SplitSize

NUM_CLOSEST = 8
"""A receipt tells of so many samples which are nearest to a training image."""

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


class Drawn(Written, frozen=True, extra="forbid"):
    """What was drawn for a shard whose samples are chosen, and what of it was left out, why."""

    drawn: int
    """All images that were drawn, those among them that became samples."""
    not_finite: int = 0
    near_copies: int = 0
    """Those that are too near to a training image."""
    uncertain: int = 0
    """Those of whose masks too little is expected."""
    not_chosen: int = 0
    """Those that were fit, and more than is needed."""
    showing: dict[str, int] | None = None
    """How many of those that were fit show a class, of which there has to be a number."""


@dataclass(frozen=True)
class Circumstances:
    """The part of a receipt that a shard's bytes do not tell."""

    seconds: float
    """The time that the shard took from its first noise to its last byte."""
    host: str
    made_with: MadeWith | None = None
    redrawn: int = 0
    """The number of samples that were drawn again because a first draw was not finite."""
    drawn: Drawn | None = None
    """What was drawn for them; None if samples are not chosen."""


class ShardFile(BaseModel, frozen=True):
    """A file of a shard."""

    path: str
    """Relative to the URL of the dataset."""
    rows: int
    bytes: int
    sha256: str


class Closest(BaseModel, frozen=True):
    """A sample that is nearer to a training image than others are."""

    key: str
    distance: float
    """1 is what is usual between training images."""
    training_image: int
    """The place of the nearest one in the listing of the training images, from 0."""


class Part(Written, frozen=True):
    """The samples of a shard that are of one split; see `Receipt` for the fields."""

    rows: int
    first_key: str
    last_key: str
    class_pixels: list[int]
    uncertainty_mean: float
    uncertainty_max: float
    uncertainty_min: float | None = None
    uncertainty_quantiles: list[float] | None = None
    expected_iou_mean: float | None = None
    expected_iou_min: float | None = None
    expected_iou_max: float | None = None
    expected_iou_quantiles: list[float] | None = None
    hit_pixels: list[int] | None = None
    truth_pixels: list[int] | None = None
    predicted_pixels: list[int] | None = None
    closest: list[Closest] | None = None


class Receipt(Written, frozen=True):
    """A published shard. All of it follows from the plan except seconds, host and made_with."""

    run_id: str
    shard: int
    path: str
    """The shard's first file, whose size and hash follow."""
    rows: int
    """The samples of the shard, in all its files."""
    bytes: int
    sha256: str
    others: list[ShardFile] | None = None
    """The further files of the shard, in order of `ShardSpec.paths`; None if there are none."""
    splits: dict[Split, Part] | None = None
    """What the splits have of the shard; None where the dataset has no validation split."""
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
    expected_iou_mean: float | None = None
    """The mean of the IoU that is expected of the masks; as the next three, None where votes do not
    tell it."""
    expected_iou_min: float | None = None
    expected_iou_max: float | None = None
    expected_iou_quantiles: list[float] | None = None
    hit_pixels: list[int] | None = None
    """Pixels per class id on which masks and those of the source agree; as the next two, None where
    they are not compared."""
    truth_pixels: list[int] | None = None
    """The compared pixels per class id of the source's masks."""
    predicted_pixels: list[int] | None = None
    """The compared pixels per class id of the masks."""
    closest: list[Closest] | None = None
    """The samples that are nearest to a training image, the nearest one first; None where nothing
    tells it."""
    redrawn: int = 0
    """The number of samples that were drawn again because a first draw was not finite."""
    drawn: Drawn | None = None
    """What was drawn for the shard; None if its samples are not chosen."""
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
    def files(self) -> list[ShardFile]:
        """All files of the shard but masks, in order of `ShardSpec.paths`."""
        others = self.others or []
        rows = self.rows - sum(each.rows for each in others if _has_samples(each))
        first = ShardFile(path=self.path, rows=rows, bytes=self.bytes, sha256=self.sha256)
        return [first, *others]

    @property
    def told_splits(self) -> tuple[Split, ...]:
        """The splits that its samples are of."""
        return (TRAIN,) if self.splits is None else tuple(self.splits)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of `files`."""
        return (self.path, *(each.path for each in self.others or ()))

    @property
    def data_files(self) -> list[ShardFile]:
        """Those that hold the samples."""
        return [file for file in self.files if _has_samples(file)]

    @property
    def num_bytes(self) -> int:
        """The size of all files together."""
        return sum(file.bytes for file in self.files)

    def of_split(self, split: Split) -> "Receipt | None":
        """The receipt as though the shard had the samples of a split alone; None if it has none."""
        if self.splits is None:
            return self if split == TRAIN else None
        if split not in self.splits:
            return None
        first, *others = (f for f in self.files if f"/{split}-" in f.path)
        changes = {**first.model_dump(exclude={"rows"}), **dict(self.splits[split])}
        of_one = {"others": others or None, "splits": {split: self.splits[split]}}
        return self.model_copy(update={**changes, **of_one})

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


def closest_of(receipts: Iterable[Receipt]) -> list[Closest]:
    """The samples of all receipts that are nearest to a training image, the nearest one first; none
    where nothing tells it."""
    told = chain.from_iterable(receipt.closest or () for receipt in receipts)
    return heapq.nsmallest(NUM_CLOSEST, told, key=lambda each: (each.distance, each.key))


def left_out(receipts: Iterable[Receipt]) -> str:
    """What was drawn for samples that are chosen, and what of it was left out, in words; empty of
    others."""
    told = [receipt.drawn for receipt in receipts if receipt.drawn is not None]
    if not told:
        return ""
    reasons = {
        "not chosen": sum(each.not_chosen for each in told),
        "too near to a training image": sum(each.near_copies for each in told),
        "of too little expected IoU": sum(each.uncertain for each in told),
        "not finite": sum(each.not_finite for each in told),
    }
    parts = ", ".join(f"{num:,} {reason}" for reason, num in reasons.items() if num)
    return f"{sum(each.drawn for each in told):,} drawn; left out: {parts or 'none'}"


def sizes_of_splits(plan: Plan, receipts: Sequence[Receipt]) -> dict[Split, SplitSize]:
    """How much there is of each split of the plan."""
    found = {}
    for split in plan.splits:
        parts = [part for each in receipts if (part := each.of_split(split)) is not None]
        files = [file for part in parts for file in part.data_files]
        found[split] = SplitSize(sum(p.rows for p in parts), sum(file.bytes for file in files))
    return found


def fits(receipt: Receipt, plan: Plan) -> bool:
    """True if the receipt is for a shard of the plan, at its path and with its samples.

    No key is hashed for that: `verify` asks whether its splits are those of its keys.
    """
    if receipt.run_id != plan.run_id or not 0 <= receipt.shard < plan.num_shards:
        return False
    spec = plan.shard(receipt.shard)
    keys = sample_key(spec.start), sample_key(spec.stop - 1)
    splits = receipt.told_splits
    return (
        receipt.paths == plan.paths_of(receipt.shard, splits)
        and splits == tuple(split for split in SPLITS if split in splits)
        and receipt.rows == spec.stop - spec.start
        and (receipt.splits is None) == (plan.val_fraction is None)
        and (receipt.first_key, receipt.last_key) == keys
        and len(receipt.class_pixels) == len(plan.class_names)
        and (receipt.hit_pixels is not None) == plan.is_scored
        and (receipt.drawn is not None) == (plan.choice is not None)
        and (receipt.closest is not None) == (plan.tells_distances)
        and (receipt.expected_iou_quantiles is not None) == plan.expects_by_votes
    )


def _has_samples(file: ShardFile) -> bool:
    return file.path.startswith(f"{DATA}/")
