"""Folders that hold the same masks in two forms, as labelme's export to VOC does: arrays in
SegmentationClass/, and pictures in SegmentationClassPNG/."""

from collections.abc import Sequence

import numpy as np

from factory.data.files.listing import stem
from factory.data.pixels import decoding
from factory.data.recognizing.candidates import Candidate, Files
from factory.errors import UnreadableImage
from factory.images import Int64

_NUM_COMPARED = 6
_ARRAYS = (".npy", ".npz")


def without_copies(files: Files, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, of which one is left where they read the same masks of the same images from
    two folders: that of pictures, which have colours."""
    if len(candidates) != 2 or any(c.splits or "masks" not in c.keys for c in candidates):
        return [*candidates]
    one, other = (_masks_of(files, candidate) for candidate in candidates)
    images = [{**candidate.keys, "masks": ""} for candidate in candidates]
    if images[0] != images[1] or one.keys() != other.keys() or not _are_same(files, one, other):
        return [*candidates]
    is_second = next(iter(one.values())).lower().endswith(_ARRAYS)
    return [candidates[1 if is_second else 0]]


def _masks_of(files: Files, candidate: Candidate) -> dict[str, str]:
    """Stem -> name, of the pictures in a candidate's folder of masks."""
    below = candidate.keys["url"].removeprefix(files.url).strip("/")
    folder = "/".join(filter(None, (below, candidate.keys["masks"])))
    return {stem(name): name for name in files.pictures if name.startswith(f"{folder}/")}


def _are_same(files: Files, one: dict[str, str], other: dict[str, str]) -> bool:
    """True if a few masks of each stem hold the same ids."""
    few = sorted(one)[:: max(1, len(one) // _NUM_COMPARED)]
    pairs = [(_ids(files, one[name]), _ids(files, other[name])) for name in few]
    return bool(pairs) and all(
        a is not None and b is not None and np.array_equal(a, b) for a, b in pairs
    )


def _ids(files: Files, name: str) -> Int64 | None:
    """The ids of a mask, in which -1 is 255 as in pictures; None if it cannot be read."""
    try:
        values = np.asarray(decoding.open_file(files.tree.read(name)))
    except (OSError, UnreadableImage):
        return None
    return values.astype(np.int64) % 256
