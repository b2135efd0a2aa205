"""Masks that lie among images, where a folder is read as images alone.

A file is taken for a mask by what it holds, a few flat colours, together with where it lies: below
a folder or under a name that says mask, or beside an image of the same name that is none. Neither
alone is enough: drawings have few colours, too.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from factory import images
from factory.data import decoding
from factory.data.listing import File, some
from factory.images import UnreadableImage

MAX_COLORS = 64
"""Of a picture that may be a mask."""
_WORDS = {
    *("mask", "masks", "seg", "segs", "segm", "segmentation", "segmentations", "segmap"),
    *("label", "labels", "gt", "groundtruth", "truth", "annotation", "annotations", "annot"),
    *("ann", "anns", "anno", "annos", "trimap", "trimaps", "matte", "mattes", "instance"),
    *("instances", "parsing"),
}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_MAX_GROUPS, _FILES_A_GROUP = 32, 8
"""How many are looked into."""
_MIN_PAIRED = 0.25
"""Of the files of a folder: a few equal names are chance."""
_NUM_TOP, _TOP_SHARE = 4, 0.95


@dataclass(frozen=True)
class _Suspect:
    """A file that may be a mask by its name; image: the one that it has the name of."""

    file: File
    image: File | None


def masks_among(url: str, files: Sequence[File]) -> str | None:
    """What is wrong where masks lie among the images below url: both folders, and what to do.

    Looks into a few files of each folder; those that cannot be read are left to others.
    """
    found = [group for group in _groups(files) if _are_masks(group)]
    if not found:
        return None
    names = {suspect.file.name for group in found for suspect in group}
    masks = sorted(names)
    rest = [file.name for file in files if file.name not in names]
    return (
        f"{url}: {len(masks):,} files in {_folders(masks)} look like masks of the images in "
        f"{_folders(rest)} (such as {masks[0]}), and kind folder would read them as images. "
        f"{_remedy(url, masks, rest)}"
    )


def looks_like_mask(data: bytes) -> bool:
    """Whether a picture has few colours, or four that nearly all of its pixels have.

    Raises UnreadableImage.
    """
    image = images.open_image(data)
    if image.mode.startswith("I"):
        counts = np.unique(np.asarray(image), return_counts=True)[1]
    elif image.mode in ("1", "L", "P"):
        counts = np.array(image.histogram())
    else:
        few = image.getcolors(MAX_COLORS)
        counts = np.array([count for count, _ in few] if few else image.convert("L").histogram())
    if image.format == "JPEG":  # which blurs flat colours: levels that are near count as one
        counts = np.pad(counts, 4).reshape(-1, 8).sum(axis=1) if len(counts) == 256 else counts
    elif 0 < (counts > 0).sum() <= MAX_COLORS:
        return True
    top = np.sort(counts)[::-1][:_NUM_TOP].sum()
    return bool(top >= _TOP_SHARE * image.width * image.height)


def _groups(files: Sequence[File]) -> list[list[_Suspect]]:
    """Suspects that are alike: of one folder or part of a name that says mask, or of one folder."""
    groups: dict[str, list[_Suspect]] = defaultdict(list)
    for file in files:
        if says := _says_mask(file.name):
            groups[says].append(_Suspect(file, None))
    if sum(map(len, groups.values())) == len(files):
        groups.clear()  # then it tells nothing
    named = {suspect.file.name for group in groups.values() for suspect in group}
    for folder, paired in _paired([file for file in files if file.name not in named]).items():
        groups[folder] += paired
    step = max(1, len(groups) // _MAX_GROUPS)
    return list(groups.values())[::step]


def _says_mask(name: str) -> str:
    """The first folder, or the end of the name, that says mask; "" where none does."""
    path = PurePosixPath(name)
    for i, part in enumerate((*path.parts[:-1], path.stem)):
        words = [word.lower() for word in _WORD.findall(part)]
        for word in words:
            if word in _WORDS or word.endswith(("mask", "masks")):
                return f"{i} {part}" if i < len(path.parts) - 1 else f"{i} * {word}"
    return ""


def _paired(files: Sequence[File]) -> dict[str, list[_Suspect]]:
    """Top folder and ending -> files that have the name of another one, or that and more, if they
    are many there."""
    by_stem: dict[str, list[File]] = defaultdict(list)
    for file in files:
        by_stem[_stem(file)].append(file)
    found: dict[tuple[str, str], list[_Suspect]] = defaultdict(list)
    for file in files:
        others = [other for other in by_stem[_stem(file)] if other is not file]
        others += [other for cut in _cuts(_stem(file)) for other in by_stem.get(cut, [])]
        if others:
            ending = PurePosixPath(file.name).suffix
            found[_top(file.name), ending].append(_Suspect(file, others[0]))
    sizes = Counter(_top(file.name) for file in files)
    return {
        f"{top}/*{ending}": few
        for (top, ending), few in found.items()
        if len(few) >= _MIN_PAIRED * sizes[top]
    }


def _stem(file: File) -> str:
    return PurePosixPath(file.name).stem.casefold()


def _cuts(stem: str) -> Iterator[str]:
    """The stem without what follows its last separator, its last two, ...: a_1_x -> a_1, a."""
    for found in reversed(list(re.finditer(r"[^0-9a-z]+", stem))):
        yield stem[: found.start()]


def _top(name: str) -> str:
    parts = PurePosixPath(name).parts
    return parts[0] if len(parts) > 1 else "."


def _are_masks(group: Sequence[_Suspect]) -> bool:
    """Whether most of a few look like masks, and the images beside them do not."""
    few = group[:: max(1, len(group) // _FILES_A_GROUP)]
    masks = [
        _looks(suspect.file) and not (suspect.image and _looks(suspect.image)) for suspect in few
    ]
    return 2 * sum(masks) > len(masks)


def _looks(file: File) -> bool:
    try:
        return looks_like_mask(decoding.read_file(file.url))
    except (OSError, UnreadableImage):
        return False


def _folders(names: Sequence[str]) -> str:
    return some(sorted({os.path.dirname(name) or "." for name in names}))


def _remedy(url: str, masks: Sequence[str], rest: Sequence[str]) -> str:
    """What to name instead: the folder of all images, if there are no masks below it."""
    folder = os.path.commonpath([os.path.dirname(name) for name in rest]) if rest else ""
    alone = folder and not any(f"{name}/".startswith(f"{folder}/") for name in masks)
    if alone:
        return f"Set url: {url}/{folder}, or list the images to use in names_url."
    return "Put the images into a folder of their own, or list those to use in names_url."
