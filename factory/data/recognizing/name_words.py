"""The words in names of files: which say mask, which say image, and what many names share."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import PurePosixPath

from factory.data.recognizing.candidates import words_in

_NUMBER = re.compile("[0-9]+")
_FIRST_WORD, _LAST_WORD = re.compile("^[A-Za-z]+[^0-9A-Za-z]"), re.compile("[^0-9A-Za-z][A-Za-z]+$")
_BEFORE_NUMBER = re.compile(".*[A-Za-z][^0-9A-Za-z]*(?=[0-9]+$)")
_MIN_SHARE = 0.2
"""The least share of names that have a first or a last word, for it to be tried."""

_WORDS = {
    *("mask", "masks", "seg", "segs", "segm", "segmentation", "segmentations", "segmap"),
    *("label", "labels", "lbl", "lbls", "gt", "groundtruth", "truth", "annotation"),
    *("annotations", "annot", "ann", "anns", "anno", "annos", "trimap", "trimaps", "matte"),
    *("mattes", "instance", "instances", "parsing", "semantic"),
}
_IMAGE_WORDS = ("img", "image", "im", "rgb", "raw", "photo", "input", "orig", "original")


def decorations(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields what may stand before and behind the core of images' names, the least first: what all
    of them have, then words of many, at the ends or before a number, that say no mask."""
    stems = [PurePosixPath(name).stem for name in names]
    before = common_start(stems).rstrip("0123456789")
    behind = common_start([stem[::-1] for stem in stems])[::-1]
    last = [found.start() for found in re.finditer("[^0-9A-Za-z]", behind)][-1:]
    short = behind[last[0] :] if last else ""
    yield from (of_all := dict.fromkeys([("", ""), ("", short), (before, ""), (before, short)]))
    words: Counter[tuple[str, str]] = Counter()
    for stem in stems:
        starts = {*_FIRST_WORD.findall(stem), *_BEFORE_NUMBER.findall(stem)}
        words.update((found, "") for found in starts)
        words.update(("", found) for found in _LAST_WORD.findall(stem))
    for pair, num in sorted(words.items(), key=lambda item: (-item[1], not _says_image(item[0]))):
        if num >= _MIN_SHARE * len(stems) and not mask_word("".join(pair)) and pair not in of_all:
            yield pair


def _says_image(pair: tuple[str, str]) -> bool:
    """True of words that say image, rather than another picture of the same."""
    return any(word.lower() in _IMAGE_WORDS for word in words_in("".join(pair)))


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
