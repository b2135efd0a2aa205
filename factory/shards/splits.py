"""Which samples are for validation: their keys decide, so it is the same on every machine."""

import hashlib
import math
from collections.abc import Iterable
from decimal import ROUND_UP, Context, Decimal
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

from factory.errors import counted
from factory.shards import extreme_keys
from factory.shards.schema import sample_key

Split = Literal["train", "validation"]
TRAIN: Split = "train"
VALIDATION: Split = "validation"
SPLITS: tuple[Split, ...] = get_args(Split)
"""The splits in their order, named as `datasets` names them."""


class SplitSize(NamedTuple):
    """How much is of a split."""

    rows: int
    bytes: int
    """Of the files that hold the rows."""


def split_of(key: str, val_fraction: float | None) -> Split:
    """The split of the sample of this key; val_fraction: the share for validation, above 0 and
    below 1, None for none.

    A sample is for validation if the first eight bytes of the SHA-256 of its key, as a whole number
    with the most significant byte first, are below val_fraction * 2^64. So its split depends on its
    key and the share alone: it is the same on every machine, in any order, however many samples
    there are, and a sample that is for validation stays so with a larger share.
    """
    if val_fraction is None:
        return TRAIN
    is_below = hashlib.sha256(key.encode()).digest() < _bound(val_fraction)
    return VALIDATION if is_below else TRAIN


@lru_cache
def _bound(val_fraction: float) -> bytes:
    """The least eight bytes that are not below the share, as no bytes that begin with them are."""
    return math.ceil(val_fraction * 2.0**64).to_bytes(8, "big")


def splits_of(indices: Iterable[int], val_fraction: float | None) -> tuple[Split, ...]:
    """The splits that samples of these numbers are of, in order of SPLITS."""
    if val_fraction is None:
        return (TRAIN,)
    seen: set[Split] = set()
    for index in indices:
        seen.add(split_of(sample_key(index), val_fraction))
        if len(seen) == len(SPLITS):
            break
    return tuple(split for split in SPLITS if split in seen)


@lru_cache(maxsize=2**17)
def splits_of_range(start: int, stop: int, val_fraction: float) -> tuple[Split, ...]:
    """As `splits_of`, of the samples start..stop-1; what was asked before is known."""
    return splits_of(range(start, stop), val_fraction)


def split_problem(num: int, val_fraction: float | None, more: str = "more pairs") -> str | None:
    """Why a dataset of num samples has nothing of one of two splits, and what to do; None if it has
    both, or val_fraction is None. more: how to have more samples.

    No key is hashed for that, however many samples there are.
    """
    if val_fraction is None:
        return None
    bound = val_fraction * 2.0**64
    lowest, highest = extreme_keys.lowest(num), extreme_keys.highest(num)
    if lowest < bound <= highest:
        return None
    empty = VALIDATION if bound <= lowest else TRAIN
    # Two digits that are enough, whichever way they are rounded.
    gap = lowest if empty == VALIDATION else 2**64 - highest
    share = Context(prec=2, rounding=ROUND_UP).divide(Decimal(gap + 1), Decimal(2**64))
    advice = f"Give at least {float(share)!r}, or {more}"
    if empty == TRAIN:
        advice = f"Give at most {float(1 - share)!r}, or {more}"
    if num == 1:
        advice = f"Leave it out, or give {more}"
    pairs = counted(num, "pair")
    if num > extreme_keys.NUM_SEARCHED:
        pairs = f"the first {counted(extreme_keys.NUM_SEARCHED, 'pair')}"
    return f"{val_fraction}: none of {pairs} would be in {empty}. {advice}."


def indices_of(start: int, stop: int, split: Split, val_fraction: float | None) -> list[int]:
    """The numbers among start..stop-1 of the samples of a split, in order."""
    return [i for i in range(start, stop) if split_of(sample_key(i), val_fraction) == split]
