"""The forms that names of masks have beside those of their images: what names alone tell of both.

A form is a folder, and what stands around the part of an image's name that its mask has, too: its
core.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NamedTuple

from factory.data.files.listing import Listing
from factory.data.recognizing.name_words import (
    any_number,
    common_start,
    mask_word,
    preference,
    words_in,
)

_MAX_COMPARED, _MAX_TRIED, _MAX_ALIKE = 2000, 8, 50
"""The most names that are compared, forms that are returned, and images of one core looked at."""
_MAX_OF_ONE = 4
"""The most pictures of a folder that is that of one image and its masks."""
LABEL_STUDIO = re.compile("task-[0-9]+-annotation-[0-9]+-by-[0-9]+-tag-")
"""How Label Studio calls masks: of their numbers that of the task alone may be that of an image."""
_NUMBER = re.compile("[0-9]+")
_WORDS_AND_NUMBERS = re.compile(r"(?:[^0-9A-Za-z*]+(?:[A-Za-z]+|\*))*[^0-9A-Za-z*]+")
"""What parts of masks have in common before their names: words and numbers, each by itself."""
_BEFORE_WORD = re.compile(r".*\*.*[^A-Za-z](?=[A-Za-z])")

_KINDS = {
    *("category", "categories", "ids", "edge", "edges"),
    *("semantic", "class", "classes", "label", "labels", "labelids", "trainids", "labeltrainids"),
    *("instance", "instances", "instanceids", "object", "objects", "panoptic"),
    *("color", "colors", "colormap", "colormaps", "rgb"),
}
"""Words for kinds of masks of one image, which are no parts of it."""


class Form(NamedTuple):
    """How masks are called."""

    folder: str
    before: str
    placeholder: str
    """The placeholder of the core; empty where the folder has one."""
    behind: str
    ending: str
    images: str = ""
    """The pattern of the images, where that follows from the masks."""

    @property
    def text(self) -> str:
        """The pattern."""
        name = f"{self.before}{self.placeholder}{self.behind}{self.ending}"
        return f"{self.folder}/{name}" if self.folder else name

    @property
    def rank(self) -> tuple[int, bool]:
        """Lower where its words say masks of classes rather than of objects or edges, then where
        its last folder, or what stands behind the core, says mask."""
        word = mask_word(self.folder.rpartition("/")[2]) or mask_word(self.behind)
        return -preference(self.text), not word

    @property
    def is_general(self) -> bool:
        """True if it stands for several folders or endings."""
        return self.ending == ".*" or "**" in self.folder


class _Image(NamedTuple):
    path: str
    folder: str
    """Its folder, below that of all images."""
    file: str


@dataclass(frozen=True)
class _Images:
    """Images by what a mask may have of their names."""

    before: str
    """What stands before the core in their names."""
    behind: str
    paths: set[str] = field(default_factory=set)
    by_core: dict[str, list[_Image]] = field(default_factory=lambda: defaultdict(list))
    by_file: dict[str, list[_Image]] = field(default_factory=lambda: defaultdict(list))
    by_folder: dict[str, list[_Image]] = field(default_factory=lambda: defaultdict(list))
    beside: dict[tuple[str, str], list[_Image]] = field(default_factory=lambda: defaultdict(list))
    """Those of a core by the folder above theirs."""


def folder_of(path: str) -> str:
    """The folder that holds a file or a folder, empty for the root of a tree."""
    return path.rpartition("/")[0]


def forms(images: Listing, paths: Sequence[str], before: str, behind: str) -> list[Form]:
    """The forms that most names have that hold an image's core, the most frequent first.

    before, behind: what stands around the core in the images' names. paths: names of the tree.
    """
    known = _Images(before, behind)
    for name in images.read:
        folder, _, file = name.rpartition("/")
        stem = os.path.splitext(file)[0]
        core = stem[len(before) : len(stem) - len(behind)]
        if not core or f"{before}{core}{behind}" != stem:
            continue
        image = _Image(images.path(name), folder, file)
        known.paths.add(image.path)
        known.by_core[core].append(image)
        known.by_file[file].append(image)
        known.by_folder[folder_of(image.path)].append(image)
        known.beside[folder_of(folder_of(image.path)), core].append(image)
    votes: Counter[Form] = Counter()
    for path in paths[:: max(1, len(paths) // _MAX_COMPARED)]:
        votes.update(dict.fromkeys(_forms_of(path, known), 1))
    often = sorted(votes, key=lambda form: (-votes[form], *form.rank))[:_MAX_TRIED]
    return [*_with_parts(votes), *often, *_general(votes)]


def _with_parts(votes: Counter[Form]) -> list[Form]:
    """The forms of masks of which an image has one for each part, if there are such: parts are the
    ends of their names, or their folders, or their whole names in a folder of each image."""
    groups: dict[tuple[Form, str], set[Form]] = defaultdict(set)
    for form in votes:
        parent, _, last = form.folder.rpartition("/")
        if form.placeholder:
            alike = _NUMBER.fullmatch(last) is not None
            place = f"{parent}/*".lstrip("/") if alike else form.folder
            groups[form._replace(folder=place, behind="{part}"), ""].add(form)
        else:
            groups[form._replace(before="{part}"), ""].add(form)
        if last and "{" not in last and _NUMBER.fullmatch(last) is None:
            place = f"{parent}/{{part}}".lstrip("/")
            objects = form._replace(folder=place, behind="*" if form.placeholder else "")
            objects = objects if form.placeholder else objects._replace(before="*")
            # Folders of masks may lie beside that of the images: masks_eye, masks_ear, images.
            for word in {"", mask_word(last)}:
                groups[objects, word].add(form)
    return [_of_parts(general, alike) for (general, _), alike in groups.items() if _differ(alike)]


def _differ(forms: set[Form]) -> bool:
    """True if forms are several, which may be parts, and are not called like kinds of masks."""
    return len(forms) > 1 and len({*map(_kinds_in, forms)} - {frozenset()}) < 2


def _kinds_in(form: Form) -> frozenset[str]:
    """The words for kinds of masks in what is behind the core, or in the last folder."""
    names = (form.behind, form.folder.rpartition("/")[2])
    return frozenset(word.lower() for name in names for word in words_in(name)) & _KINDS


def _of_parts(general: Form, forms: set[Form]) -> Form:
    """The form of parts, with all that these forms have in common."""
    behinds, befores = ({getattr(f, key) for f in forms} for key in ("behind", "before"))
    folders = {form.folder for form in forms}
    start = _numbers_before_words(behinds) or _uncut_start(sorted(behinds))
    if "{part}" in general.folder:
        general = general._replace(folder=_common_around(general.folder, folders))
    if general.behind == "{part}":
        inner = general.folder if len(folders) > 1 else min(folders)
        return general._replace(folder=inner, behind=f"{start}{{part}}")
    if general.behind == "*":
        return general._replace(behind=start if len(behinds) == 1 else f"{start}*")
    if general.before == "{part}":
        return general._replace(before=f"{_whole_words(common_start(sorted(befores)))}{{part}}")
    if general.before == "*" and len(befores) == 1:
        return general._replace(before=min(befores))
    return general


def _common_around(general: str, folders: set[str]) -> str:
    """The folder of parts, with the words that the folders of all of them have in common:
    masks_{part} for masks_eye and masks_ear."""
    parent, _, _ = general.rpartition("/")
    names = sorted(folder.rpartition("/")[2] for folder in folders)
    start = _whole_words(common_start(names))
    end = _whole_words(common_start([name[::-1] for name in names]))[::-1]
    if min(map(len, names)) <= len(start) + len(end):
        start = end = ""
    return f"{parent}/{start}{{part}}{end}".lstrip("/")


def _whole_words(start: str) -> str:
    """The start of several names without the word that they do not have in common."""
    return re.sub("[^_. -]+$", "", start)


def _uncut_start(texts: Sequence[str]) -> str:
    """The start of all texts, without a word or a number of which the texts go on with more."""
    start = common_start(texts)
    rest = [text[len(start) :] for text in texts]
    is_cut = any(_cuts_a_number(start, text) or _cuts_a_word(start, text) for text in rest)
    return _whole_words(start) if is_cut else start


def _numbers_before_words(behinds: set[str]) -> str:
    """What stands behind the core of all before their last words, with a `*` for each number in it:
    _annotation_*_by_*_ of _annotation_7_by_1_eye and _annotation_8_by_1_ear; empty without any.
    """
    found = [_BEFORE_WORD.match(any_number(behind)) for behind in behinds]
    start = common_start(sorted(match[0] if match else "" for match in found))
    return start if "*" in start and _WORDS_AND_NUMBERS.fullmatch(start) else ""


def _general(votes: Counter[Form]) -> list[Form]:
    """The forms that stand for several which differ in their endings, in their folders or in the
    numbers beside the core alone, the most frequent first."""
    groups = defaultdict(list)
    for form in votes:
        open_ending = form._replace(ending=".*")
        numbered = form._replace(before=any_number(form.before), behind=any_number(form.behind))
        for general in (open_ending, form._replace(folder="**"), open_ending._replace(folder="**")):
            groups[general].append(form)
        if numbered != form:
            groups[numbered].append(form)
    found: Counter[Form] = Counter()
    for general, alike in groups.items():
        if len(alike) > 1 and not general.images:
            if general.folder == "**":
                common = os.path.commonpath([form.folder for form in alike]).partition("{")[0]
                general = general._replace(folder=f"{common.rstrip('/')}/**".lstrip("/"))
            found[general] = sum(votes[form] for form in alike)
    return [form for form, _ in found.most_common(_MAX_TRIED)]


def _forms_of(path: str, known: _Images) -> Iterator[Form]:
    """Yields the forms by which a file would be the mask of an image: of the longest cores."""
    folder, _, file = path.rpartition("/")
    stem, ending = os.path.splitext(file)
    yield from _beside(path, folder, stem, ending, known)
    is_image, is_of_task = path in known.paths, LABEL_STUDIO.match(stem) is not None
    found = False
    for length in range(len(stem), 0, -1):
        for start in range(len(stem) - length + 1):
            stop = start + length
            before, text, behind = stem[:start], stem[start:stop], stem[stop:]
            if _cuts_a_number(before, text) or _cuts_a_number(text, behind):
                continue
            if _cuts_a_word(before, text) and _cuts_a_word(text, behind):
                continue
            if is_of_task and (before, behind[:1]) != ("task-", "-"):
                continue
            for images, placeholder in _readings(text, known):
                others = [image for image in images[:_MAX_ALIKE] if image.path != path]
                deepest = max((len(_shared(folder, image.folder)) for image in others), default=0)
                for image in others:
                    yield Form(_with_dir(folder, image.folder), before, placeholder, behind, ending)
                    if mirrored := _mirrored(folder, image, deepest, known):
                        place, of_images = mirrored
                        yield Form(place, before, placeholder, behind, ending, of_images)
                    # Its own name in another folder does not say that it is a mask.
                    found = found or not is_image or image.file != file
        if found and not _NUMBER.fullmatch(stem):
            return  # A number alone may be that of an object, and the folder be of the image.
    parts = folder.split("/")
    for i, part in enumerate(parts):
        for images, placeholder in _readings(part, known):
            if any(image.path != path for image in images):
                place = "/".join([*parts[:i], placeholder, *parts[i + 1 :]])
                yield Form(place, stem, "", "", ending)


def _shared(folder: str, other: str) -> str:
    """The last folders that two folders have in common."""
    return common_start([f"/{folder}"[::-1], f"/{other}"[::-1]])[::-1].partition("/")[2]


def _mirrored(folder: str, image: _Image, deepest: int, known: _Images) -> tuple[str, str] | None:
    """The folder of masks that lie as their images do below another folder, and the pattern of the
    images: gt/{dir} and rgb/** of gt/city/1.png and rgb/city/1.png. None where they do not, and
    where more folders are those of an image of the same name.

    deepest: the length of the most folders that one of these has in common with the mask.
    """
    inner = _shared(folder, image.folder)
    is_plain = _with_dir(folder, image.folder) != folder or inner == image.folder
    if is_plain or not inner or len(inner) < deepest:
        return None
    above = image.folder.removesuffix(inner)
    own = f"{known.before}*{known.behind}{PurePosixPath(image.file).suffix}"
    return f"{folder.removesuffix(inner)}{{dir}}", f"{above}**/{own}"


def _beside(path: str, folder: str, stem: str, ending: str, known: _Images) -> Iterator[Form]:
    """Yields the forms of masks in folders of their own for each image: `1/rgb.png` beside
    `1/gt.png`, or `1/rgb/7.png` beside `1/gt/7.png`."""
    images = known.by_folder.get(folder, ())
    for image in images if len(images) <= _MAX_OF_ONE else ():
        if image.folder and image.path != path:
            place = _with_dir(folder, image.folder)
            yield Form(place, stem, "", "", ending, f"**/{image.file}")
    above, _, last = folder.rpartition("/")
    for image in known.beside.get((above, stem), ())[:_MAX_OF_ONE]:
        outer, _, inner = image.folder.rpartition("/")
        if outer and inner != last:
            own = PurePosixPath(image.file).suffix
            place = f"{_with_dir(above, outer)}/{last}"
            yield Form(place, "", "{stem}", "", ending, f"**/{inner}/*{own}")


def _cuts_a_number(one: str, other: str) -> bool:
    return one[-1:].isdigit() and other[:1].isdigit()


def _cuts_a_word(one: str, other: str) -> bool:
    return one[-1:].isalpha() and other[:1].isalpha()


def _readings(text: str, known: _Images) -> Iterator[tuple[Sequence[_Image], str]]:
    """Yields the images that a text may stand for, each time with its placeholder."""
    yield known.by_file.get(text, ()), "{file}"
    yield known.by_core.get(text, ()), "{stem}"
    if _NUMBER.fullmatch(text) and text.startswith("0") and 1 < len(text) < 10:
        yield known.by_core.get(str(int(text)), ()), f"{{stem:0{len(text)}}}"


def _with_dir(folder: str, inner: str) -> str:
    """The folder of a mask, with {dir} instead of the folders that its image is in."""
    parts, wanted = folder.split("/"), inner.split("/")
    for i in range(len(parts) - len(wanted), -1, -1):
        if inner and parts[i : i + len(wanted)] == wanted:
            return "/".join([*parts[:i], "{dir}", *parts[i + len(wanted) :]])
    behind = folder.removeprefix(inner)
    if inner and behind != folder and "/" not in behind:
        return f"{{dir}}{behind}"  # train_labels beside train
    return folder
