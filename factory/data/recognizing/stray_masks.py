"""Masks that lie among images of a folder that is read as images alone.

A file is taken for a mask by what it holds, a few flat colours, together with where it lies: below
a folder or under a name that says mask, or beside an image of the same name that is none. Neither
alone is enough: drawings have few colours, too.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from factory.data.files.listing import Listing, shared_folder
from factory.data.files.patterns import parse_images
from factory.data.pixels import decoding
from factory.data.recognizing import mask_looks, name_words
from factory.errors import UnreadableImage, some

_TOKEN = re.compile(r"[^0-9A-Za-z]?(?:[A-Z]+(?![a-z])|[A-Z]?[a-z]+)")
_SEPARATOR = re.compile(r"[^0-9a-z]+")
_MAX_GROUPS, _FILES_A_GROUP = 32, 8
"""The most groups of files that are looked into, and the most files of each."""
_MIN_PAIRED = 0.25
"""The least share of a folder's files that have equal names: a few are chance."""
_DIGIT = re.compile("[0-9]")
_MIN_ALIKE = 3
_GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "F")


@dataclass(frozen=True)
class _Suspect:
    """A file that may be a mask by its name."""

    name: str
    image: str | None
    """The image of the same name, if that is why."""


@dataclass(frozen=True)
class MasksAmong:
    """Masks that lie among the images of a folder."""

    files: Listing
    groups: Sequence[Sequence[str]]
    """Names of the masks, those of one folder or one kind of name together."""
    images: Sequence[str]
    """Names of all other files, sorted."""

    @property
    def masks(self) -> list[str]:
        """Names of the masks, sorted."""
        return sorted({name for group in self.groups for name in group})

    @property
    def problem(self) -> str:
        """The sentence that says where both lie."""
        return (
            f"{self.files.folder}: {len(self.masks):,} files in {_folders(self.masks)} look like "
            f"masks of the images in {_folders(self.images)} (such as {self.masks[0]}), and would "
            "be read as images."
        )

    @property
    def images_url(self) -> str | None:
        """The folder of all images, if there are no masks below it."""
        common = shared_folder(self.images)
        if not common or any(name.startswith(f"{common}/") for name in self.masks):
            return None
        return self.files.url_of(common)

    @property
    def patterns(self) -> list[str]:
        """Patterns of the tree that mean all masks and no image, one if it can be; empty if there
        are no simple ones.

        Each names a folder, an ending, or a part that names have in common.
        """
        if one := self._pattern_of(self.masks):
            return [one]
        each = [self._pattern_of(group) for group in self.groups]
        return [text for text in each if text] if all(each) else []

    def _pattern_of(self, masks: Sequence[str]) -> str | None:
        paths = [self.files.path(name) for name in masks]
        for text in _patterns_of(paths):
            pattern = parse_images(text)
            if all(map(pattern.means, paths)) and not any(
                pattern.means(self.files.path(name)) for name in self.images
            ):
                return text
        return None


def masks_among(files: Listing, names: Sequence[str]) -> MasksAmong | None:
    """The masks among the images of a folder, None if there are none.

    names: of the files to look at. Looks into a few files of each place; those that cannot be read
    are reported when they are decoded.
    """
    found = [group for group in _groups(names) if _are_masks(group, files)]
    if not found:
        return None
    groups = [[suspect.name for suspect in group] for group in found]
    return MasksAmong(files, groups, sorted(set(names).difference(*groups)))


def _patterns_of(paths: Sequence[str]) -> Iterator[str]:
    """Yields patterns that may mean some files and not others, the plainest first."""
    if any(character in path for path in paths for character in "*{}"):
        return  # They mean something else in a pattern.
    if folder := shared_folder(paths):
        yield folder
    shared = set.intersection(*({*path.split("/")[:-1]} for path in paths))
    for inner in dict.fromkeys(paths[0].split("/")[:-1]):
        if inner in shared:
            yield f"**/{inner}/**/*.*"
    endings = {os.path.splitext(path)[1].lower() for path in paths}
    ending = endings.pop() if len(endings) == 1 else ".*"
    if ending != ".*":
        yield f"**/*{ending}"
    stems = [os.path.splitext(os.path.basename(path))[0] for path in paths]
    behind = name_words.common_start([stem[::-1] for stem in stems])[::-1]
    yield from (f"**/*{behind[i:]}{ending}" for i in _starts(behind))
    before = name_words.common_start(stems)
    yield from (f"**/{before[: i + 1]}*{ending}" for i in _ends(before))
    for token in dict.fromkeys(_TOKEN.findall(stems[0])):
        yield f"**/*{token}*{ending}"


def _starts(text: str) -> Iterator[int]:
    """Yields the places in a text at which a separator or a word begins, the last ones first."""
    yield from reversed([found.start() for found in _TOKEN.finditer(text)])


def _ends(text: str) -> Iterator[int]:
    """Yields the places of the last characters of words, with the separator behind, if any."""
    yield from (found.end() - 1 for found in re.finditer(r"[0-9A-Za-z]+[^0-9A-Za-z]?", text))


def plain_among(files: Listing) -> str | None:
    """A sentence on pictures that are flat or grey beside others that are not, None without any.

    Pictures are compared that are alike by folder, start of the name and ending. They may be masks
    or maps, which nothing else tells. A few files are looked into.
    """
    alike: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name in files.read:
        folder_name, file = os.path.split(name)
        stem, ending = os.path.splitext(file)
        start = _DIGIT.split(stem, 1)[0]
        alike[folder_name, start, ending.lower()].append(name)
    groups = sorted((g for g in alike.values() if len(g) >= _MIN_ALIKE), key=len)[-_MAX_GROUPS:]
    plain = [group for group in groups if _are_plain(group, files)]
    if not plain or len(plain) == len(groups):
        return None
    return (
        f"{files.folder}: {sum(map(len, plain)):,} files (such as {min(plain)[0]}) are flat or "
        "grey, others are not. If they are masks or maps, list the images to use in names_url."
    )


def _groups(names: Sequence[str]) -> list[list[_Suspect]]:
    """Suspects in groups: those of one folder, or of one part of a name that says mask."""
    groups: dict[str, list[_Suspect]] = defaultdict(list)
    for name in names:
        if says := _says_mask(name):
            groups[says].append(_Suspect(name, None))
    if sum(map(len, groups.values())) == len(names):
        groups.clear()  # then it tells nothing
    named = {suspect.name for group in groups.values() for suspect in group}
    groups.update(_paired([name for name in names if name not in named]))
    step = max(1, len(groups) // _MAX_GROUPS)
    return list(groups.values())[::step]


def _says_mask(name: str) -> str:
    """The first folder, or the end of the name, that says mask; "" if none does."""
    *folders, file = name.split("/")
    for i, folder in enumerate(folders):
        if name_words.mask_word(folder):
            return f"{i} {folder}"
    word = name_words.mask_word(os.path.splitext(file)[0])
    return f"{len(folders)} *{word}" if word else ""


def _paired(names: Sequence[str]) -> dict[str, list[_Suspect]]:
    """Files that have the name of another one, or that and more, by top folder and ending.

    A few in a folder are left out: they are chance.
    """
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_stem[_stem(name)].append(name)
    found: dict[tuple[str, str], list[_Suspect]] = defaultdict(list)
    for name in names:
        same = next((other for other in by_stem[_stem(name)] if other != name), None)
        cuts = (by_stem[cut][0] for cut in _cuts(_stem(name)) if cut in by_stem)
        if image := same or next(cuts, None):
            ending = os.path.splitext(name)[1]
            found[_top(name), ending].append(_Suspect(name, image))
    sizes = Counter(map(_top, names))
    return {
        f"{top}/*{ending}": few
        for (top, ending), few in found.items()
        if len(few) >= _MIN_PAIRED * sizes[top]
    }


def _stem(name: str) -> str:
    return os.path.splitext(os.path.basename(name))[0].casefold()


def _cuts(stem: str) -> Iterator[str]:
    """The stem up to its last separator, its last but one, ...: a_1_x -> a_1, a."""
    for found in reversed(list(_SEPARATOR.finditer(stem))):
        yield stem[: found.start()]


def _top(name: str) -> str:
    top, separator, _ = name.partition("/")
    return top if separator else "."


def _are_masks(group: Sequence[_Suspect], files: Listing) -> bool:
    """True if most of a few files look like masks, and the images of their names do not."""
    few = group[:: max(1, len(group) // _FILES_A_GROUP)]
    masks = [
        _looks(files, suspect.name) and not (suspect.image and _looks(files, suspect.image))
        for suspect in few
    ]
    return 2 * sum(masks) > len(masks)


def _are_plain(names: Sequence[str], files: Listing) -> bool:
    """True if most of a few files are flat or grey."""
    few = names[:: max(1, len(names) // _FILES_A_GROUP)]
    return 2 * sum(_is_plain(files, name) for name in few) > len(few)


def _is_plain(files: Listing, name: str) -> bool:
    try:
        data = files.tree.read(files.path(name))
        return decoding.open_file(data).mode in _GREY_MODES or mask_looks.looks_like_mask(data)
    except (OSError, UnreadableImage):
        return False


def _looks(files: Listing, name: str) -> bool:
    try:
        return mask_looks.looks_like_mask(files.tree.read(files.path(name)))
    except (OSError, UnreadableImage):
        return False


def _folders(names: Sequence[str]) -> str:
    return some(sorted({os.path.dirname(name) or "." for name in names}))
