"""The plan of a dataset: everything that decides its bytes, and which shard holds which samples."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from factory.calibration import Calibration
from factory.classes import MAX_CLASSES, Classes, Color
from factory.differences import flatten
from factory.errors import counted
from factory.shards import mask_files
from factory.shards.canonical import canonical, plain
from factory.shards.choice import Choice
from factory.shards.columns import (
    EXPECTED_COLUMNS,
    NEAREST_COLUMNS,
    SCORE_COLUMNS,
    Column,
    with_columns,
)
from factory.shards.formats import ENDINGS, FORMATS
from factory.shards.mask_files import FileRow, Read, RowImages
from factory.shards.schema import EncodedSample, Sample, encode_sample
from factory.shards.splits import SPLITS, TRAIN, Split, splits_of_range

StoredRow = EncodedSample | FileRow
"""A sample as a shard holds it: with its pictures, or with what names them."""

DATA = "data"
"""The folder of the shards, relative to the URL of the dataset."""
METADATA = "metadata"
"""The folder of the tables beside tars, relative to the URL of the dataset."""
MAX_SHARDS = 1_000_000
"""A dataset has at most so many shards: the manifest holds the receipt of each, half a gigabyte of
JSON for a million."""
_FEW_SHARDS = 100_000
"""The names of up to so many shards have five digits; those of more have six, so that they sort."""

_METADATA_KEY = "metadata_files"


@dataclass(frozen=True)
class ShardSpec:
    """A shard's number, its samples start..stop-1, and its files relative to the dataset's URL."""

    shard: int
    start: int
    stop: int
    plan: "Plan" = field(repr=False, compare=False)
    """The plan of which it is a shard."""

    @cached_property
    def splits(self) -> tuple[Split, ...]:
        """The splits that its samples are of, in order; each has a file.

        Costs a hash for each sample where few of them are for validation, so only who asks waits.
        """
        fraction = self.plan.val_fraction
        return (TRAIN,) if fraction is None else splits_of_range(self.start, self.stop, fraction)

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The files of the splits, then, of a dataset that has them, the tables beside these."""
        return self.plan.paths_of(self.shard, self.splits)

    @property
    def path(self) -> str:
        """The first of its files, by which messages name it."""
        return self.paths[0]

    @property
    def data_paths(self) -> tuple[str, ...]:
        """The files that hold the samples, one a split."""
        return self.paths[: len(self.splits)]

    @property
    def tables(self) -> dict[str, str]:
        """The paths of the tables beside these, each with the path of its tar; none in most
        datasets."""
        tables = self.paths[len(self.splits) :]
        return dict(zip(tables, self.data_paths, strict=True)) if tables else {}


class Plan(BaseModel, frozen=True, extra="forbid"):
    """Two datasets of equal plans hold equal bytes."""

    num: Annotated[int, Field(ge=1)]
    """The number of samples of the dataset."""
    extended_from: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """The values of num before each extension. Shards end there, so that they are kept."""
    samples_per_shard: Annotated[int, Field(ge=1)]
    format: Literal["parquet", "webdataset", "png"]
    class_names: tuple[str, ...]
    palette: tuple[Color, ...]
    """The colour of each class."""
    recipe: Annotated[dict[str, Any], BeforeValidator(plain)]
    """Everything else that decides the bytes, as JSON: seed, sampler, hashes of the models."""

    @model_validator(mode="after")
    def _can_be_kept(self) -> "Plan":
        if not 1 <= len(self.class_names) == len(self.palette) <= MAX_CLASSES:
            raise ValueError(
                f"{counted(len(self.class_names), 'class name')}, "
                f"{counted(len(self.palette), 'colour')}: "
                f"give equally many, 1 to {MAX_CLASSES}"
            )
        ends = (0, *self.extended_from, self.num)
        if any(a >= b for a, b in pairwise(ends)):
            raise ValueError(f"num grows with each extension, got {list(ends[1:])}")
        fraction = self.recipe.get("val_fraction", 0.5)
        if not isinstance(fraction, float) or not 0 < fraction < 1:
            raise ValueError(f"val_fraction must be a share above 0 and below 1, got {fraction!r}")
        if self.num_shards > MAX_SHARDS:
            raise ValueError(
                f"samples_per_shard = {self.samples_per_shard:,} makes more than {MAX_SHARDS:,} "
                f"shards of {self.num:,} pairs. Raise it."
            )
        if len(self.parts[0]) <= _FEW_SHARDS < self.num_shards:
            raise ValueError(
                f"a dataset that began with {counted(len(self.parts[0]), 'shard')} cannot grow "
                f"beyond {_FEW_SHARDS:,}: their names would no longer sort as their numbers do"
            )
        return self

    @cached_property
    def parts(self) -> list[range]:
        """The first samples of the shards: a range for the first dataset and for each extension."""
        ends = (0, *self.extended_from, self.num)
        return [range(a, b, self.samples_per_shard) for a, b in pairwise(ends)]

    @cached_property
    def num_shards(self) -> int:
        """The number of shards; only the last, and the last before an extension, may be shorter."""
        return sum(map(len, self.parts))

    @cached_property
    def num_digits(self) -> int:
        """The number of digits of the numbers in the shards' names."""
        # The first dataset decides: its shards keep their names when it is extended.
        most = _FEW_SHARDS if len(self.parts[0]) <= _FEW_SHARDS else MAX_SHARDS
        return len(str(most - 1))

    @property
    def run_id(self) -> str:
        """The 12 hex digits that identify the samples, whatever their number."""
        content = self.model_dump(mode="json", exclude={"num", "extended_from"})
        return hashlib.sha256(canonical(content).encode()).hexdigest()[:12]

    def extended(self, num: int) -> "Plan":
        """The plan of so many samples whose first shards are those of this plan."""
        ends = (*self.extended_from, self.num)
        return Plan(**{**self.model_dump(), "num": num, "extended_from": ends})

    @property
    def command(self) -> str:
        """The command of `factory` that makes the dataset: generate, or label."""
        return str(self.recipe.get("command", "generate"))

    @property
    def lists_source(self) -> bool:
        """True if the ledger has a listing of the images that are labelled."""
        return self.command == "label" and self.recipe.get("relabels") is None

    @property
    def is_drawn(self) -> bool:
        """True if a diffusion model drew the images; False if they are of a source."""
        return "source" not in self.recipe.get("columns", ())

    @property
    def is_scored(self) -> bool:
        """True if masks are compared with those of the source."""
        return set(SCORE_COLUMNS) <= set(self.recipe.get("columns", ()))

    @cached_property
    def calibration(self) -> Calibration | None:
        """What is expected of the samples' masks; None if their ensemble does not know."""
        told = self.recipe.get("calibration")
        return None if told is None else Calibration.model_validate(told)

    @property
    def tells_distances(self) -> bool:
        """True if samples tell how near they are to an image that the DDPM learned from."""
        return self.recipe.get("training_images_sha256") is not None

    @cached_property
    def choice(self) -> Choice | None:
        """What samples are chosen by among all that is drawn; None if all of it is taken."""
        told = self.recipe.get("choice")
        return None if told is None else Choice.model_validate(told)

    @property
    def expects_by_votes(self) -> bool:
        """True if votes tell the expected IoU; False if uncertainty does, or nothing."""
        return self.calibration is not None and self.calibration.classes is not None

    @property
    def channels(self) -> int:
        """The channels of the images: 3 for RGB, 1 for grey."""
        return 1 if self.recipe.get("channels") == 1 else 3

    @property
    def val_fraction(self) -> float | None:
        """The share of the samples that is for validation; None: there is no such split."""
        fraction: float | None = self.recipe.get("val_fraction")
        return fraction

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits of the dataset."""
        return (TRAIN,) if self.val_fraction is None else SPLITS

    @property
    def has_metadata(self) -> bool:
        """True if a table lies beside each tar; datasets of older versions have none."""
        return self.recipe.get(_METADATA_KEY) is True

    def without_metadata(self) -> "Plan":
        """The plan of the same dataset without tables beside its tars."""
        recipe = {name: each for name, each in self.recipe.items() if name != _METADATA_KEY}
        return self.model_copy(update={"recipe": recipe})

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the rows."""
        if self.format != "png":
            return self.columns_with_pictures
        fields = (c for c in self.columns_with_pictures if c.dtype != "image")
        return (*fields, *mask_files.FILE_COLUMNS)

    @property
    def columns_with_pictures(self) -> tuple[Column, ...]:
        """The columns of rows that hold their pictures: those of the rows, unless masks are
        files."""
        names = list(self.recipe.get("columns", ()))
        if self.calibration is not None:
            names += EXPECTED_COLUMNS if self.expects_by_votes else EXPECTED_COLUMNS[:1]
        names += NEAREST_COLUMNS if self.tells_distances else ()
        return with_columns(names, self.mask_column, self.channels)

    @property
    def mask_column(self) -> str:
        """The name of the masks' column; mask also where masks are files."""
        return str(self.recipe.get("mask_column", "mask"))

    @property
    def fields(self) -> tuple[Column, ...]:
        """The columns that are no pictures."""
        return tuple(column for column in self.columns if column.dtype != "image")

    @property
    def method(self) -> object:
        """The recipe's version: other versions make other bytes of the same settings."""
        return self.recipe.get("method")

    @property
    def is_of_version_0_1(self) -> bool:
        """True if version 0.1 of this package made the plan, whose seeds are unsigned."""
        return self.method in (1, 2)

    @property
    def classes(self) -> Classes:
        """The classes' names and colours together."""
        return Classes(self.class_names, self.palette)

    @property
    def run(self) -> dict[str, str]:
        """The settings that a shard's metadata and the card show: dotted names, values as text."""
        facts = {
            "run_id": self.run_id,
            "samples_per_shard": self.samples_per_shard,
            "format": self.format,
            **{f"recipe.{name}": value for name, value in flatten(self.recipe).items()},
        }
        return {name: str(value) for name, value in facts.items()}

    def shard(self, shard: int) -> ShardSpec:
        """The shard of this number, 0..num_shards-1; names sort as numbers do."""
        assert 0 <= shard < self.num_shards, (shard, self.num_shards)
        number = shard
        for part in self.parts:
            if number < len(part):
                break
            number -= len(part)
        start = part[number]
        stop = min(start + self.samples_per_shard, part.stop)
        return ShardSpec(shard, start, stop, self)

    def paths_of(self, shard: int, splits: Sequence[Split]) -> tuple[str, ...]:
        """The files of a shard whose samples are of these splits; see `ShardSpec.paths`."""
        begin = {TRAIN: "labels"} if self.format == "png" else {}
        names = [f"{begin.get(split, split)}-{shard:0{self.num_digits}d}" for split in splits]
        paths = [f"{DATA}/{name}{ENDINGS[self.format]}" for name in names]
        if self.has_metadata:
            paths += [f"{METADATA}/{name}.parquet" for name in names]
        return tuple(paths)

    def shards(self) -> list[ShardSpec]:
        """All shards, in order."""
        return [self.shard(i) for i in range(self.num_shards)]

    def encode_sample(self, sample: Sample) -> EncodedSample:
        """Encodes the pictures of a sample as PNG, which is nearly all the work of writing it.

        Raises DamagedShard if the mask holds an id beyond the classes, 255 aside.
        """
        num_classes = len(self.class_names)
        if self.format == "png":
            with_ending = bool(self.recipe["masks_keep_endings"])
            return mask_files.encode_sample(sample, num_classes, self.columns, with_ending)
        return encode_sample(sample, num_classes, self.columns)

    def pack(self, samples: Sequence[EncodedSample]) -> bytes:
        """Packs encoded samples into the bytes of a file, in the plan's format."""
        data: bytes = FORMATS[self.format].encode(samples, self.classes, self.run, self.columns)
        return data

    def encode(self, samples: Sequence[Sample]) -> bytes:
        """Encodes and packs samples into the bytes of a file. Raises DamagedShard."""
        return self.pack([self.encode_sample(sample) for sample in samples])

    def rows(
        self, shard: bytes | BinaryIO, read: Read | None = None, images: RowImages | None = None
    ) -> Iterator[StoredRow]:
        """The samples of a file as they are stored, in order, few in memory.

        shard: its bytes, or a file of them, which stays open. read, images: of a dataset of mask
        files, which has them beside its shards; without images these are black. Raises
        DamagedShard; OSError where the file cannot be read.
        """
        if self.format == "png":
            assert read is not None, "masks lie beside the shard"
            table = shard if isinstance(shard, bytes) else shard.read()
            return mask_files.rows(table, self.channels, read, images)
        rows: Iterator[StoredRow] = FORMATS[self.format].rows(shard)
        return rows

    def iterate(self, data: bytes, read: Read | None = None) -> Iterator[Sample]:
        """The samples of a file's bytes, in order, few in memory.

        read: of a dataset of mask files, reads them. Raises DamagedShard.
        """
        return (row.decoded() for row in self.rows(data, read))
