"""For each class of a dataset the pairs in which it is least certain, found without pictures.

Shapes: N rows of a shard, C classes.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from factory import storage
from factory.calibration import NOT_THERE
from factory.comparison import evenly
from factory.errors import DamagedShard, UserError
from factory.progress import tracked
from factory.shards.column_reading import Numbers, has_cheap_columns, read_columns
from factory.shards.columns import EXPECTED_CLASS_IOU
from factory.shards.manifest import Manifest
from factory.shards.plan import Plan
from factory.shards.reading import NUM_READERS
from factory.shards.receipts import Receipt
from factory.threads import ahead

FEWEST_PIXELS = 16
LEAST_SHARE = 0.001
"""A pair is looked for a class where its mask has so many pixels of it, and such a share: a speck
shows nothing."""
MAX_SHOWN = 12
"""The page shows so many classes at most."""
MAX_PAIRS = 1_000_000
MAX_SHARDS = 2_000
"""So many pairs are read at most, and so many shards."""
_MAX_WHOLE_SHARDS = 8
"""So many shards at most where their pictures are read, too."""


class Candidate(NamedTuple):
    """A pair, for a class; the less certain pair is the smaller one, and of those that are equally
    certain the one in which the class has more pixels."""

    certainty: float
    """The IoU that is expected of the class; without one, the uncertainty of the pair times -1."""
    minus_pixels: int
    """The pixels of the class in the mask, times -1."""
    number: int
    """The place of the pair in the dataset, from 0."""


@dataclass(frozen=True)
class ClassPairs:
    """The pairs whose masks have a class."""

    class_id: int
    num: int
    certainty: float
    """The mean over all of them; see `Candidate`."""
    least: Sequence[Candidate]
    """Those in which it is least certain, the least first; empty where all have a speck alone."""


@dataclass(frozen=True)
class WorstPairs:
    """What is known of the classes of a dataset."""

    classes: list[ClassPairs]
    """Those that occur, the least certain first."""
    by_class: bool
    """True if an IoU is expected of each class, False if uncertainty stands for it."""
    num_pairs: int
    """The pairs that were read for it."""
    num_shards: int

    def shown(self) -> list[tuple[ClassPairs, Candidate]]:
        """The least certain classes, each with its least certain pair. By uncertainty, which is
        that of a whole pair, each has one that none before it has, if there is one."""
        found: list[tuple[ClassPairs, Candidate]] = []
        used = set[int]()
        for pairs in [each for each in self.classes if each.least][:MAX_SHOWN]:
            new = (each for each in pairs.least if self.by_class or each.number not in used)
            candidate = next(new, pairs.least[0])
            used.add(candidate.number)
            found.append((pairs, candidate))
        return found


def worst_pairs(url: str, manifest: Manifest) -> WorstPairs:
    """Reads the columns that tell it, of all shards, or of some that lie evenly over a dataset that
    is larger than MAX_PAIRS.

    Raises UserError where a shard is missing or damaged, OSError.
    """
    plan = manifest.plan
    most = min(MAX_SHARDS, max(1, MAX_PAIRS // plan.samples_per_shard))
    num = min(plan.num_shards, most if has_cheap_columns(plan) else _MAX_WHOLE_SHARDS)
    receipts = [manifest.receipts[i] for i in evenly(plan.num_shards, num)]
    total = _Sums.none(len(plan.class_names))
    with ThreadPoolExecutor(NUM_READERS) as pool:
        parts = ahead(pool, partial(_sums_of, url, plan), receipts, 2 * NUM_READERS)
        for part in tracked(parts, "report: columns", num, "shards"):
            total = total + part
    return WorstPairs(total.classes(), plan.expects_by_votes, total.num_pairs, num)


@dataclass(frozen=True)
class _Sums:
    """What is known of the classes of some pairs."""

    num_pairs: int
    nums: npt.NDArray[np.int64]
    """(C,) pairs whose masks have the class."""
    certainties: npt.NDArray[np.float64]
    """(C,) summed over these."""
    least: list[list[Candidate]]
    """C lists, each sorted, of MAX_SHOWN candidates at most."""

    @classmethod
    def none(cls, num_classes: int) -> "_Sums":
        """Those of no pairs."""
        nums, certainties = np.zeros(num_classes, np.int64), np.zeros(num_classes)
        return cls(0, nums, certainties, [[] for _ in range(num_classes)])

    def __add__(self, other: "_Sums") -> "_Sums":
        both = zip(self.least, other.least, strict=True)
        return _Sums(
            self.num_pairs + other.num_pairs,
            self.nums + other.nums,
            self.certainties + other.certainties,
            [sorted(a + b)[:MAX_SHOWN] for a, b in both],
        )

    def classes(self) -> list[ClassPairs]:
        """Those that occur, the least certain first."""
        found = [
            ClassPairs(i, int(self.nums[i]), float(self.certainties[i] / self.nums[i]), least)
            for i, least in enumerate(self.least)
            if self.nums[i]
        ]
        return sorted(found, key=lambda each: (each.certainty, each.class_id))


def _sums_of(url: str, plan: Plan, receipt: Receipt) -> _Sums:
    names = ["height", "width", "class_fractions"]
    names.append(EXPECTED_CLASS_IOU if plan.expects_by_votes else "uncertainty")
    try:
        indices, columns = read_columns(url, plan, receipt, names)
        return _sums(indices, columns, len(plan.class_names))
    except DamagedShard as error:
        raise UserError(
            f"{storage.join(url, receipt.path)}: {error}. Run `factory verify --level decode` on "
            "the dataset."
        ) from None


def _sums(indices: Sequence[int], columns: Numbers, num_classes: int) -> _Sums:
    """Those of a shard. Raises DamagedShard."""
    fractions = columns["class_fractions"]
    there = fractions > 0
    if (certainty := columns.get(EXPECTED_CLASS_IOU)) is None:
        certainty = np.broadcast_to(-columns["uncertainty"][:, None], fractions.shape)
    else:
        there &= certainty != NOT_THERE
    if not fractions.shape == certainty.shape == (len(indices), num_classes):
        raise DamagedShard(f"columns that are not of {num_classes} classes")
    rows, ids = np.nonzero(there)
    of_images = columns["height"].astype(np.int64) * columns["width"]
    pixels = np.rint(fractions[rows, ids] * of_images[rows]).astype(np.int64)
    found = certainty[rows, ids].astype(np.float64)
    enough = pixels >= np.maximum(FEWEST_PIXELS, LEAST_SHARE * of_images[rows])
    numbers = np.array(indices)[rows]
    return _Sums(
        len(indices),
        np.bincount(ids, minlength=num_classes),
        np.bincount(ids, found, num_classes).astype(np.float64),
        _least(num_classes, *(each[enough] for each in (ids, found, -pixels, numbers))),
    )


def _least(
    num_classes: int,
    ids: npt.NDArray[np.int64],
    certainties: npt.NDArray[np.float64],
    minus_pixels: npt.NDArray[np.int64],
    numbers: npt.NDArray[np.int64],
) -> list[list[Candidate]]:
    """The MAX_SHOWN least candidates of each class, of candidates in any order."""
    order = np.lexsort((numbers, minus_pixels, certainties, ids))
    starts = np.searchsorted(ids[order], np.arange(num_classes + 1))
    least = []
    for start, stop in pairwise(starts.tolist()):
        first = order[start : min(stop, start + MAX_SHOWN)]
        columns = (each[first].tolist() for each in (certainties, minus_pixels, numbers))
        least.append([Candidate(*each) for each in zip(*columns, strict=True)])
    return least
