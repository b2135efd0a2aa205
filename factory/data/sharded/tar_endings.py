"""Which members of tars are images and which are masks, by the endings of their names.

A sample is the members of one key: a name up to the first dot of its last part. What follows is the
ending, as WebDataset has it: `a/0001.seg.png` is `seg.png` of the sample `a/0001`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from factory.data.listing import IMAGE_SUFFIXES
from factory.data.sharded.words import IMAGE_WORDS, MASK_WORDS
from factory.errors import Problems, some

_JPEG, _PNG = ("jpg", "jpeg"), "png"


@dataclass(frozen=True)
class Endings:
    """The endings that are read."""

    image: str
    mask: str | None
    """None if masks were not asked for."""


def split_name(name: str) -> tuple[str, str]:
    """The key and the ending of a member's name."""
    folder, slash, file = name.rpartition("/")
    stem, _, ending = file.partition(".")
    return f"{folder}{slash}{stem}", ending


def find_endings(
    counts: Counter[str],
    image: str | None,
    mask: str | None,
    labelled: bool,
    url: str,
) -> Endings:
    """The endings of images and masks: those that are named, else the only ones that can be meant.

    counts: the number of members of each ending. Raises UserError that begins with url and has the
    keys to set.
    """
    problems = Problems()
    pictures = [e for e in counts if f".{e.lower()}".endswith(IMAGE_SUFFIXES)]
    listed = _listed(counts)
    masks = [e for e in pictures if _word(e) in MASK_WORDS]
    plain = [e for e in pictures if "." not in e or _word(e) in IMAGE_WORDS]
    if not masks and len(plain) == 2 and _is_photo(plain[0]) != _is_photo(plain[1]):
        # A JPEG is no mask, so of .jpg and .png only one can be.
        masks = [e for e in plain if e.lower() == _PNG]
    images = [e for e in plain if e not in masks]
    found_image = _ending(image, "image", counts, images, listed, url, problems)
    found_mask = None
    if labelled:
        found_mask = _ending(mask, "mask", counts, masks, listed, url, problems)
    if found_image is not None and found_image == found_mask:
        problems.add(f"{url}: image_ending and mask_ending are both .{found_image}. Name two.")
    problems.raise_if_any()
    assert found_image is not None
    return Endings(found_image, found_mask)


def _ending(
    named: str | None,
    part: str,
    counts: Counter[str],
    meant: Sequence[str],
    listed: str,
    url: str,
    problems: Problems,
) -> str | None:
    """The ending of a part, image or mask; None after a problem, which is added."""
    key = f"{part}_ending"
    if named is not None:
        wanted = named.removeprefix(".")
        if wanted in counts:
            return wanted
        problems.add(f"{url}: nothing in it ends with .{wanted}, but {listed}. Set `{key}:`.")
    elif len(meant) == 1:
        return meant[0]
    else:
        told = f"{some([f'.{e}' for e in meant])} may be the {part}s" if meant else f"no {part}s"
        problems.add(f"{url}: {told} among {listed}. Set `{key}:` to the right one.")
    return None


def _listed(counts: Counter[str]) -> str:
    return some([f"{num:,} .{ending}" for ending, num in counts.most_common()], 12) or "no files"


def _word(ending: str) -> str:
    """What stands before the last part of an ending."""
    return ending.lower().rpartition(".")[0]


def _is_photo(ending: str) -> bool:
    return ending.lower() in _JPEG
