"""Which pairs of an export are for validation."""

import hashlib
from typing import Literal

Split = Literal["train", "val"]
TRAIN: Split = "train"
VAL: Split = "val"


def split_of(key: str, val: float | None) -> Split:
    """The split of the pair of this key; val: the share for validation, 0..1, None for none.

    A pair is for validation if the first eight bytes of the SHA-256 of its key, as a whole number
    with the most significant byte first, are below val * 2^64. So its split depends on its key and
    the share alone: it is the same on every machine, in any order, however many pairs there are,
    and a pair that is for validation stays so with a larger share.
    """
    if val is None:
        return TRAIN
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return VAL if number < val * 2.0**64 else TRAIN
