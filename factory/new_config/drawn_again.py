"""Folders beside images and masks that show the same once more: the masks in another form, or drawn
over the images, as tools write them to look at. Nothing is to be asked about these."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from factory.data.files.listing import stem
from factory.data.items import ImageFile
from factory.data.pixels import decoding
from factory.data.recognizing import mask_looks
from factory.errors import UnreadableImage, some
from factory.images import Int64
from factory.new_config import renderings
from factory.new_config.looking import Place

_NUM_COMPARED = 6
_MIN_PIXELS = 16
"""Areas of fewer pixels tell nothing of how they were drawn."""
_MAX_REST, _MAX_OF_ALL = 0.3, 0.5
"""The largest shares of what differs within the areas of masks, and of what differs without them,
that the image does not explain where masks are drawn over it."""
Pixels = npt.NDArray[np.float64]


def told(place: Place, folders: Sequence[str], files: Sequence[ImageFile]) -> dict[str, str]:
    """What each of some folders shows once more, in a few words; only those that do.

    files: images with masks of the place. Raises OSError.
    """
    few = files[:: max(1, len(files) // _NUM_COMPARED)]
    found = {}
    for folder in folders:
        of_stem = {stem(n): n for n in renderings.pictures(place) if n.startswith(f"{folder}/")}
        others = [of_stem.get(stem(file.path)) or of_stem.get(stem(_mask(file))) for file in few]
        names = [name for name in others if name is not None]
        if not few or len(names) < len(few):
            continue
        if _are_same(place, [_mask(file) for file in few], names):
            found[folder] = "the same masks"
        elif mask_looks.share_of_masks(place.tree, names) <= 0.5 and all(
            _is_drawn_over(place, file, name) for file, name in zip(few, names, strict=True)
        ):
            found[folder] = "masks drawn over the images"
    return found


def sentence(url: str, shown: Mapping[str, str]) -> str:
    """What was left alone below a place."""
    of_each = {what: [f for f, w in shown.items() if w == what] for what in shown.values()}
    parts = [f"{some(folders)} ({what})" for what, folders in of_each.items()]
    return f"left alone below {url}: {' and '.join(parts)}"


def _mask(file: ImageFile) -> str:
    return file.mask_paths[0]


def _are_same(place: Place, masks: Sequence[str], others: Sequence[str]) -> bool:
    """True if each value of the masks is one value or colour of the other pictures."""
    seen: set[tuple[int, int]] = set()
    for mask, other in zip(masks, others, strict=True):
        values, shown = _values(place, mask), _values(place, other)
        if values is None or shown is None or values.shape != shown.shape:
            return False
        both = np.unique(np.stack([values.ravel(), shown.ravel()]), axis=1)
        seen |= {(int(value), int(color)) for value, color in both.T}
    num_of_each = [len({pair[i] for pair in seen}) for i in (0, 1)]
    return len(seen) > 1 and num_of_each == [len(seen), len(seen)]


def _is_drawn_over(place: Place, file: ImageFile, other: str) -> bool:
    """True if a picture is the image in other colours, which differ from area to area of the
    mask."""
    image, picture = _pixels(place, file.path), _pixels(place, other)
    mask = _values(place, _mask(file))
    if image is None or picture is None or mask is None:
        return False
    if image.shape != picture.shape or image.shape[:2] != mask.shape:
        return False
    x, y, areas = image.reshape(-1, 3), picture.reshape(-1, 3), mask.ravel()
    every = [np.flatnonzero(areas == value) for value in np.unique(areas)]
    large = [area for area in every if len(area) >= _MIN_PIXELS]
    if len(large) < 2:
        return False
    within = sum(float(((y[area] - y[area].mean(axis=0)) ** 2).sum()) for area in large)
    rest = sum(_unexplained(x[area], y[area]) for area in large)
    known = np.concatenate(large)
    without = _unexplained(x[known], y[known])
    return within > 0 and rest <= min(_MAX_REST * within, _MAX_OF_ALL * without)


def _unexplained(x: Pixels, y: Pixels) -> float:
    """The squares of what is left of colours (N, 3) that are no linear function of others."""
    known = np.hstack([x, np.ones((len(x), 1))])
    return float(((y - known @ np.linalg.lstsq(known, y, rcond=None)[0]) ** 2).sum())


def _values(place: Place, name: str) -> Int64 | None:
    """(H, W) the values of a picture, or its colours as one number each; None if it cannot be
    read."""
    try:
        values = np.asarray(decoding.open_file(place.tree.read(name))).astype(np.int64)
    except (OSError, UnreadableImage):
        return None
    if values.ndim == 3:
        values = (values << 8 * np.arange(values.shape[2])).sum(axis=2)
    return values if values.ndim == 2 else None


def _pixels(place: Place, name: str) -> Pixels | None:
    """(H, W, 3) the colours of a picture; None if it cannot be read."""
    try:
        image = decoding.to_rgb(decoding.open_file(place.tree.read(name)))
    except (OSError, UnreadableImage):
        return None
    return np.asarray(image).astype(np.float64)
