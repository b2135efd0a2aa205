"""What an export may be asked for, and which formats take it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Literal

from factory.errors import Problems, nearest
from factory.shards.columns import MASK_COLUMNS
from factory.shards.splits import SPLITS, Split, split_of
from factory.values import parse_count

ExportSplit = Literal["train", "val"]
_NAMES: dict[Split, ExportSplit] = {"train": "train", "validation": "val"}
"""The splits as most tools name them."""


@dataclass(frozen=True)
class Options:
    """What decides the files of an export, beside its format and its dataset."""

    val: float | None = None
    """The share of the pairs that is for validation, above 0 and below 1; None: there is no such
    split. It is the dataset's if that has one."""
    split: Split | None = None
    """The only split that is exported; None: all of them."""
    keep: float | None = None
    """The share of the pairs that is exported, the most certain first; None: all of them."""
    min_expected_iou: float | None = None
    """The IoU that is expected at least of the masks that are exported; None: all of them."""
    polygons: bool = False
    """Whether objects are polygons instead of runs of pixels."""
    instances: bool = False
    """Whether each connected region of a class is an object of its own."""
    background: bool = False
    """Whether class 0 is a category, too, where it is called background."""
    jpeg: bool = False
    """Whether images are JPEG files, of quality 95, instead of the very pixels."""
    mask_column: str | None = None
    """The name of the masks' column; None: that of the dataset."""
    samples_per_shard: int | None = None
    """The pairs of a file of many pairs; None: those of a shard of the dataset, or of its split."""
    shard_megabytes: float | None = None
    """What a file of many pairs has at most, in 10^6 bytes, about; None: as above."""

    @property
    def resizes_shards(self) -> bool:
        """True if files of many pairs have another size than the dataset's shards."""
        return self.samples_per_shard is not None or self.shard_megabytes is not None

    @property
    def splits(self) -> tuple[ExportSplit, ...]:
        """The splits of the export."""
        there = SPLITS if self.val is not None else SPLITS[:1]
        return tuple(_NAMES[split] for split in there if self.split in (None, split))

    def split_of(self, key: str) -> ExportSplit:
        """The split of the pair of this key."""
        return _NAMES[split_of(key, self.val)]


GENERAL = ("val", "keep", "min_expected_iou", "split")
"""The options that every format takes."""
_DEFAULTS = Options()
_READERS: dict[str, Callable[[Any], Any]] = {
    "val": float,
    "keep": float,
    "min_expected_iou": float,
    "samples_per_shard": parse_count,
    "shard_megabytes": float,
}
"""What makes values of options out of texts, which a command line gives."""


def read_options(to: str, takes: dict[str, tuple[str, ...]], given: dict[str, Any]) -> Options:
    """The options of an export from those that were given; None counts as not given.

    to: the format. takes: the options that each format takes beside GENERAL. Raises UserError with
    a line for each unknown format, unknown option, option of another format, and bad value.
    """
    problems = Problems()
    values: dict[str, Any] = {n: value for n, value in given.items() if value is not None}
    known = [each.name for each in fields(Options)]
    is_known = isinstance(to, str) and to in takes
    if not is_known:
        problems.add(f"to = {to!r}: is no format. {nearest(str(to), list(takes))}")
    for name, value in values.items():
        if name not in known:
            problems.add(f"{name}: is no option. {nearest(name, known)}")
        elif problem := _problem(name, value):
            problems.add(f"{name} = {value!r}: {problem}")
        elif is_known and value != getattr(_DEFAULTS, name) and name not in (*GENERAL, *takes[to]):
            formats = [each for each, names in takes.items() if name in names]
            problems.add(
                f"{name}: is no option of {to}, but of {', '.join(formats)}. Leave it out."
            )
    if {"samples_per_shard", "shard_megabytes"} <= values.keys():
        problems.add("samples_per_shard, shard_megabytes: are two ways to say one size: give one.")
    if {"keep", "min_expected_iou"} <= values.keys():
        problems.add("keep, min_expected_iou: are two ways to say what is exported: give one.")
    problems.raise_if_any()
    chosen = {name: _READERS.get(name, lambda given: given)(values[name]) for name in values}
    return Options(**chosen)


def _problem(name: str, value: Any) -> str | None:
    """What is wrong with the value of an option, and what would be right; None if it is fine."""
    if name == "val":
        share = _number(value)
        if share is None or not 0 < share < 1:
            return (
                "must be a share above 0 and below 1, such as 0.1 for every tenth pair. For no "
                "validation split leave it out."
            )
    elif name == "keep":
        share = _number(value)
        if share is None or not 0 < share <= 1:
            return "must be a share above 0 and at most 1, such as 0.8 for the most certain 80 %."
    elif name == "min_expected_iou":
        iou = _number(value)
        if iou is None or not 0 < iou <= 1:
            return "must be an IoU above 0 and at most 1, such as 0.8."
    elif name == "split":
        if value not in SPLITS:
            return f"must be one of {', '.join(SPLITS)}."
    elif name == "mask_column":
        if value not in MASK_COLUMNS:
            return f"must be one of {', '.join(MASK_COLUMNS)}."
    elif name == "samples_per_shard":
        try:
            parse_count(value)
        except ValueError as error:
            return f"{error}."
    elif name == "shard_megabytes":
        size = _number(value)
        if size is None or size <= 0:
            return "must be a number of megabytes above 0, such as 500."
    elif not isinstance(value, bool):
        return "must be True or False."
    return None


def _number(value: Any) -> float | None:
    """The value as a number; texts of a command line are read, too."""
    if isinstance(value, bool) or not isinstance(value, Real | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
