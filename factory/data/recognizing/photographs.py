"""Which pictures of a tree look like photographs, told by a few of each folder and kind of name.

Where some do and others look like masks, the former are the images.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from factory.data.files.trees import Tree
from factory.data.recognizing import mask_looks
from factory.data.recognizing.name_words import words_in

_SAY_IMAGE = {"image", "images", "img", "imgs", "rgb", "photo", "photos", "raw", "original"}
_SAY_OTHER = {
    *("overlay", "overlays", "depth", "depths", "distance", "heatmap", "heatmaps", "visualization"),
    *("preview", "previews", "vis", "prediction", "predictions", "pred", "normals", "flow"),
}
_NUMBER = re.compile("[0-9]+")
_WORD = re.compile("[A-Za-z]{2,}")


def among(tree: Tree, names: Sequence[str]) -> frozenset[str]:
    """The pictures that look like photographs, by a few of those that lie and are called alike."""
    alike = _groups(names)
    return frozenset(
        name
        for group in alike
        if mask_looks.share_of_masks(tree, group, mask_looks.NUM_A_GROUP) <= 0.5
        for name in group
    )


def likely_images(names: Sequence[str]) -> Iterator[list[str]]:
    """Yields the photographs that may be the images, the likeliest ones first: those whose folders
    or names say so, and all that do not say that they show something else of the same."""
    said = [name for name in names if _words(name) & _SAY_IMAGE]
    plain = [name for name in names if not says_other(name)]
    for likely in (said, [name for name in said if name in {*plain}], plain):
        if likely and len(likely) < len(names):
            yield likely
    if names:
        yield [*names]


def says_other(name: str) -> bool:
    """True of a picture that is called an overlay, a depth or the like, by itself or its folder."""
    return bool(_words(name) & _SAY_OTHER)


def _words(name: str) -> set[str]:
    """The words of a file's name and of its folder's, in lower case."""
    inner = "/".join(name.rpartition(".")[0].split("/")[-2:])
    return {word.lower() for word in words_in(inner)}


def _groups(names: Sequence[str]) -> list[list[str]]:
    """The pictures of folders that differ in numbers alone, with the same words at the ends of
    their names; by less of both where these are too many."""
    found: dict[tuple[str, ...], list[str]] = {}
    for most in (_by_folder_and_words, _by_last_folder_and_words, _by_last_folder, _by_ending):
        found = defaultdict(list)
        for name in names:
            found[most(name)].append(name)
        if len(found) <= mask_looks.MAX_GROUPS:
            break
    return [*found.values()]


def _by_folder_and_words(name: str) -> tuple[str, ...]:
    folder, _, file = name.rpartition("/")
    words = [word for word in re.split("[^0-9A-Za-z]+", file.rpartition(".")[0]) if word]
    ends = (word if _WORD.fullmatch(word) else "" for word in (*words[:1], *words[-1:]))
    return _NUMBER.sub("", folder), *ends, *_by_ending(name)


def _by_last_folder_and_words(name: str) -> tuple[str, ...]:
    folder, *others = _by_folder_and_words(name)
    return folder.rpartition("/")[2], *others


def _by_last_folder(name: str) -> tuple[str, ...]:
    folder, *others = _by_folder_and_words(name)
    return folder.rpartition("/")[2], others[-1]


def _by_ending(name: str) -> tuple[str, ...]:
    return (name.rpartition(".")[2].lower(),)
