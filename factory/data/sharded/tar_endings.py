"""Which members of tars are images and which are masks, by the endings of their names.

A sample is the members of one key: a name up to the first dot of its last part. What follows is the
ending, as WebDataset has it: `a/0001.seg.png` is `seg.png` of the sample `a/0001`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from factory.data.files.listing import IMAGE_SUFFIXES
from factory.data.sharded.words import IMAGE_WORDS, MASK_WORDS
from factory.errors import Problems, some

_JPEG, _PNG = ("jpg", "jpeg"), "png"


@dataclass(frozen=True)
class Endings:
    """The endings that are read: of several the first that a sample has."""

    image: tuple[str, ...]
    mask: tuple[str, ...] | None
    """None if masks were not asked for."""


def split_name(name: str) -> tuple[str, str]:
    """The key and the ending of a member's name."""
    folder, slash, file = name.rpartition("/")
    stem, _, ending = file.partition(".")
    return f"{folder}{slash}{stem}", ending


def find_endings(
    forms: Mapping[tuple[str, ...], int],
    image: Sequence[str] | None,
    mask: Sequence[str] | None,
    labelled: bool,
    url: str,
) -> Endings:
    """The endings of images and masks: those that are named, else those that can be meant, of which
    no sample has two.

    forms: the endings of a sample -> the number of such samples. Raises UserError that begins with
    url and has the keys to set.
    """
    problems = Problems()
    counts = Counter[str]()
    for form, num in forms.items():
        counts.update(dict.fromkeys(form, num))
    pictures = [e for e in counts if f".{e.lower()}".endswith(IMAGE_SUFFIXES)]
    masks = [e for e in pictures if _word(e) in MASK_WORDS]
    plain = [e for e in pictures if "." not in e or _word(e) in IMAGE_WORDS]
    if not masks and _are_pairs(plain, forms):
        # A JPEG is no mask, so of .jpg and .png only one can be.
        masks = [e for e in plain if e.lower() == _PNG]
    images = [e for e in plain if e not in masks]
    find = partial(_endings, counts=counts, forms=forms, url=url, problems=problems)
    found_image = find(image, "image", meant=images)
    found_mask = find(mask, "mask", meant=masks) if labelled else None
    if both := set(found_image or ()) & set(found_mask or ()):
        listed = some([f".{e}" for e in sorted(both)])
        problems.add(f"{url}: image_ending and mask_ending are both {listed}. Name two.")
    problems.raise_if_any()
    assert found_image is not None
    return Endings(found_image, found_mask)


def _endings(
    named: Sequence[str] | None,
    part: str,
    *,
    meant: Sequence[str],
    counts: Counter[str],
    forms: Mapping[tuple[str, ...], int],
    url: str,
    problems: Problems,
) -> tuple[str, ...] | None:
    """The endings of a part, image or mask; None after a problem, which is added."""
    key, listed = f"{part}_ending", _listed(counts)
    if named is not None:
        wanted = [ending.removeprefix(".") for ending in named]
        if not (absent := [ending for ending in wanted if ending not in counts]):
            return tuple(wanted)
        ends = some([f".{ending}" for ending in absent])
        problems.add(f"{url}: nothing in it ends with {ends}, but {listed}. Set `{key}:`.")
    elif meant and _are_apart(meant, forms):
        return tuple(meant)
    else:
        told = f"{some([f'.{e}' for e in meant])} may be the {part}s" if meant else f"no {part}s"
        problems.add(f"{url}: {told} among {listed}. Set `{key}:` to the right one.")
    return None


def _are_apart(endings: Sequence[str], forms: Mapping[tuple[str, ...], int]) -> bool:
    """True if no sample has two of the endings, and they differ in their last part alone."""
    words = {_word(ending) for ending in endings}
    return len(words) == 1 and all(len({*form}.intersection(endings)) <= 1 for form in forms)


def _are_pairs(plain: Sequence[str], forms: Mapping[tuple[str, ...], int]) -> bool:
    """True if the endings are one of JPEGs and another one that samples have beside it."""
    if len(plain) != 2 or _is_photo(plain[0]) == _is_photo(plain[1]):
        return False
    return any({*form}.issuperset(plain) for form in forms)


def _listed(counts: Counter[str]) -> str:
    return some([f"{num:,} .{ending}" for ending, num in counts.most_common()], 12) or "no files"


def _word(ending: str) -> str:
    """What stands before the last part of an ending."""
    return ending.lower().rpartition(".")[0]


def _is_photo(ending: str) -> bool:
    return ending.lower() in _JPEG
