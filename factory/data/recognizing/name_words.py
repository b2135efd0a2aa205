"""The words in names of files: which say mask, which say image, and what many names share."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import PurePosixPath

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NUMBER = re.compile("[0-9]+")
_FIRST_WORD = re.compile("^[A-Za-z]+[^0-9A-Za-z]")
_LAST_WORDS = [re.compile(f"(?:[^0-9A-Za-z][A-Za-z]+){{{num}}}$") for num in (1, 2, 3)]
_BEFORE_NUMBER = re.compile(".*[A-Za-z][^0-9A-Za-z]*(?=[0-9]+$)")
_MAX_ENDS = 3
"""The most words at the end of all names that are tried."""
_MIN_SHARE = 0.2
"""The least share of names that have a first or a last word, for it to be tried."""

_WORDS = {
    *("mask", "masks", "seg", "segs", "segm", "segmentation", "segmentations", "segmap"),
    *("label", "labels", "lbl", "lbls", "gt", "groundtruth", "truth", "annotation"),
    *("annotations", "annot", "ann", "anns", "anno", "annos", "trimap", "trimaps", "matte"),
    *("mattes", "instance", "instances", "parsing", "semantic"),
}
_IMAGE_WORDS = ("img", "image", "im", "rgb", "raw", "photo", "input", "orig", "original")

_OF_CLASSES = {
    *("semantic", "semantics", "sem", "class", "classes", "trainids", "labelids"),
    *("category", "categories"),
}
_OF_OBJECTS = {
    *("instance", "instances", "instanceids", "object", "objects", "panoptic"),
    *("ins", "inst", "pan", "bitmask", "bitmasks"),
}
_OF_OTHER_THINGS = {
    *("edge", "edges", "boundary", "boundaries", "border", "borders", "contour", "contours"),
    *("distance", "distances", "depth", "weight", "weights", "visibility"),
}
_TO_LOOK_AT = {"color", "colors", "colormap", "colormaps", "rgb", "human", "overlay", "overlays"}
"""Words in the names of folders and files of masks of one image, of which one kind is used."""


def words_in(name: str) -> list[str]:
    """The words of a name, which its signs, its numbers and its capitals tell apart.

    >>> words_in("TrainingImages_gtFine2")
    ['Training', 'Images', 'gt', 'Fine']
    """
    return _WORD.findall(name)


def decorations(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields what may stand before and behind the core of images' names, the least first: what all
    of them have, then words of many, at the ends or before a number, that say no mask."""
    stems = [PurePosixPath(name).stem for name in names]
    before = common_start(stems).rstrip("0123456789")
    behind = common_start([stem[::-1] for stem in stems])[::-1]
    cuts = [found.start() for found in re.finditer("[^0-9A-Za-z]", behind)]
    ends = [behind[cut:] for cut in reversed(cuts)][:_MAX_ENDS] or [""]
    short = [(before, end) for end in (ends[0], *ends[1:])]
    both = [("", ""), ("", ends[0]), (before, ""), *short, *(("", end) for end in ends[1:])]
    yield from (of_all := dict.fromkeys(both))
    words: Counter[tuple[str, str]] = Counter()
    for stem in stems:
        starts = {*_FIRST_WORD.findall(stem), *_BEFORE_NUMBER.findall(stem)}
        words.update((found, "") for found in starts)
        words.update(("", found[0]) for end in _LAST_WORDS if (found := end.search(stem)))
    for pair, num in sorted(words.items(), key=lambda item: (-item[1], not _says_image(item[0]))):
        if num >= _MIN_SHARE * len(stems) and not mask_word("".join(pair)) and pair not in of_all:
            yield pair


def _says_image(pair: tuple[str, str]) -> bool:
    """True of words that say image, rather than another picture of the same."""
    return any(word.lower() in _IMAGE_WORDS for word in words_in("".join(pair)))


def preference(text: str) -> int:
    """Higher for masks of classes than for those of objects, of colours to look at, or of edges."""
    words = {word.lower() for word in words_in(text)}
    others = 2 * bool(words & _OF_OTHER_THINGS) + bool(words & _TO_LOOK_AT)
    return len(words & _OF_CLASSES) - bool(words & _OF_OBJECTS) - others


@lru_cache(maxsize=2**16)
def mask_word(text: str) -> str:
    """The first word of a name that says mask, in lower case; "" if none does."""
    words = (word.lower() for word in words_in(text))
    return next((w for w in words if w in _WORDS or w.endswith(("mask", "masks"))), "")


def common_start(texts: Sequence[str]) -> str:
    """The characters with which all texts begin."""
    first, last = min(texts, default=""), max(texts, default="")
    num = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:num]


def any_number(text: str) -> str:
    """A text with a `*` for each number in it."""
    return _NUMBER.sub("*", text)
