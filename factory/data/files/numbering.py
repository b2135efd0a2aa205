"""Images and masks whose numbers may be counted from different starts."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

_LAST_NUMBER = re.compile(r"[0-9]+(?=[^0-9]*$)")
_MAX_SHIFT = 10
"""Numbers that differ by more are of images and masks that lack each other's."""


def shift(pairs: Sequence[tuple[str, str]], unpaired: Iterable[str]) -> str:
    """Sentences on pairs of equal numbers where the first images and the last masks, as many, have
    no partner, or the other way round: img_0 to img_9 beside mask_1 to mask_10. Then it is as
    likely that img_0 belongs to mask_1. Empty if nothing says so.

    pairs: the paths of an image and its mask. unpaired: the paths of images and masks without a
    partner, and perhaps of other files.
    """
    numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for image, mask in pairs:
        one, other = _parted(image), _parted(mask)
        if one is None or other is None or one[1] != other[1] or one[0] == other[0]:
            return ""
        numbers[one[0], other[0]].append(one[1])
    rest: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for path in unpaired:
        if parted := _parted(path):
            rest[parted[0]].append((parted[1], path))
    for (images, masks), paired in numbers.items():
        left, stray = sorted(rest[images]), sorted(rest[masks])
        if not 0 < len(left) == len(stray) <= min(_MAX_SHIFT, len(paired)):
            continue
        first, last = min(paired), max(paired)
        if (left[-1][0] < first and stray[0][0] > last) or (
            stray[-1][0] < first and left[0][0] > last
        ):
            num = len(left)
            return (
                f"{left[0][1]} and {stray[-1][1]} have no partner, though images and masks are as "
                f"many: their numbers may begin {num} apart, so that each mask is of another image "
                "than its number says. Rename them so that numbers agree. If they do agree, set "
                "unpaired: skip, or move what has no partner elsewhere."
            )
    return ""


def _parted(path: str) -> tuple[str, int] | None:
    """The path without the last number of its file's name, and the number; None without one."""
    folder, slash, file = path.rpartition("/")
    stem = file.rpartition(".")[0] or file
    found = _LAST_NUMBER.search(stem)
    if found is None:
        return None
    start, end = found.span()
    return f"{folder}{slash}{file[:start]}#{file[end:]}", int(found[0])
