"""Which files of a folder are read: listing, choosing by name, pairing images with masks."""

import difflib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from factory import storage
from factory.config import Source
from factory.data import stray_masks
from factory.errors import Problems, some
from factory.images import IMAGE_SUFFIXES

Part = Literal["images", "masks"]
PICTURE_SUFFIXES = (
    *(".tif", ".tiff", ".gif", ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jpx", ".jxl", ".jfif"),
    *(".jpe", ".jif", ".jfi", ".pjpeg", ".pjp", ".jxr", ".wdp", ".hdp", ".dib", ".apng", ".mpo"),
    *(".pcx", ".sgi", ".fits", ".fit", ".mat", ".img", ".qoi", ".pfm", ".xpm", ".xbm", ".j2c"),
    *(".npy", ".npz", ".dcm", ".dicom", ".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".mrc"),
    *(".svs", ".ndpi", ".czi", ".lif", ".nd2", ".vsi", ".exr", ".hdr", ".pgm", ".ppm", ".pbm"),
    *(".pnm", ".tga", ".ico", ".psd", ".dng", ".cr2", ".nef", ".arw", ".raw", ".svg", ".pdf"),
)
"""Endings of pictures that are not read: files that are missed, where others are noise."""
JUNK_FOLDERS = ("__MACOSX", "@eaDir")
"""What macOS and NAS boxes put among people's files."""
_NUM_SEARCHED = 5  # searching for similar names is slow among many files


@dataclass(frozen=True)
class File:
    """An image to read, and the mask that belongs to it where masks were asked for."""

    name: str
    """Path below the folder of the images."""
    url: str
    mask_url: str | None


@dataclass(frozen=True)
class Found:
    """What a source holds."""

    files: tuple[File, ...] = ()
    """Those to read, sorted by name."""
    oddities: tuple[str, ...] = ()
    """Sentences on what lies beside the images and is not read, though it may be meant (other
    endings, sub-folders, links to folders), and on what is read though it may be no image."""


@dataclass(frozen=True)
class Listing:
    """What a folder holds: paths below it."""

    read: dict[str, str]
    """Of the files whose ending is read -> URL, sorted."""
    missed: tuple[str, ...]
    """Of pictures whose ending is not read, sorted."""
    others: tuple[str, ...]
    """Of all other files, sorted."""
    deeper: tuple[str, ...]
    """Of pictures in sub-folders that are not looked into, sorted."""


def find_files(source: Source, labelled: bool, problems: Problems) -> Found:
    """The files that a source of kind folder or pairs names; lists each folder once.

    What is wrong with the rest is added to problems.
    """
    if labelled and source.kind != "pairs":
        problems.add(f"{source.url}: kind {source.kind} has no masks. Use kind: pairs.")
        return Found()
    assert source.url is not None, "Source checks it"
    if storage.is_local(source.url) and os.path.isfile(source.url):
        problems.add(f"{source.url}: is a file. Name the folder that holds it.")
        return Found()
    if labelled and _folder(source, "images") == _folder(source, "masks"):
        problems.add(
            f"{_folder(source, 'masks')}: holds images and masks in one folder, and each image "
            "would be its own mask. Put the masks into a folder of their own, each under its "
            "image's name, and name it in `masks:`."
        )
        return Found()
    images = _list(source, "images", problems)
    masks = _list(source, "masks", problems) if labelled else Listing({}, (), (), ())
    files = _files(source, labelled, images, masks, problems)
    return Found(tuple(files), tuple(_oddities(source, images)))


def _files(
    source: Source, labelled: bool, images: Listing, masks: Listing, problems: Problems
) -> list[File]:
    """Those to read, sorted by name."""
    if not images.read or (labelled and not masks.read):
        return []
    if _mixes_masks(source, images.read):
        problems.add(
            f"{source.url}: holds {source.images}/ and {source.masks}/, and kind folder would read "
            f"masks as images. Use kind: pairs, or url: {source.url}/{source.images}."
        )
        return []
    _check_missed(source, images, problems)
    names = _choose(source, list(images.read), problems)
    if not labelled and source.names_url is None:
        chosen = {name: images.read[name] for name in names}
        if problem := stray_masks.masks_among(_folder(source, "images"), chosen):
            problems.add(problem)
            return []
    mask_urls = _pair(source, names, images, masks, problems) if labelled else {}
    return [
        File(name, images.read[name], mask_urls.get(name))
        for name in sorted(names)
        if name in mask_urls or not labelled
    ]


def _oddities(source: Source, found: Listing) -> list[str]:
    """Where pictures of other endings are the most, and where there is no image at all, that is a
    problem already."""
    if source.names_url is not None or not found.read:
        return []  # a list says which are meant
    folder = _folder(source, "images")
    linked = _linked(folder, found)
    nameless = [n for n in found.others if not PurePosixPath(n).suffix and n not in linked]
    told = []
    if len(found.missed) <= len(found.read) and (unread := [*found.missed, *nameless]):
        told.append(f"{folder}: {_by_ending(unread)} are not read. What is read: {_ENDINGS}.")
    if linked:
        told.append(f"{folder}: links to folders are not followed: {some(linked)}.")
    if found.deeper:
        places = some(sorted({str(PurePosixPath(name).parent) for name in found.deeper}))
        told.append(
            f"{folder}: {len(found.deeper):,} pictures in its sub-folders {places} are not read: "
            "kind pairs reads one folder of images. Name the one that is meant in `images:`."
        )
    if plain := stray_masks.plain_among(folder, found.read):
        told.append(plain)
    return told


def _linked(folder: str, found: Listing) -> list[str]:
    """The links to folders, which a listing has as files."""
    if not storage.is_local(folder):
        return []
    return [name for name in found.others if os.path.isdir(storage.join(folder, name))]


def _folder(source: Source, part: Part) -> str:
    assert source.url is not None, "Source checks it"
    if source.kind == "folder":
        return source.url
    below = source.images if part == "images" else source.masks
    return storage.join(source.url, *PurePosixPath(below).parts)


def _list(source: Source, part: Part, problems: Problems) -> Listing:
    """The files of a part; none that are read is a problem."""
    folder = _folder(source, part)
    try:
        found = _listing(source, folder)
        if not found.read:
            problems.add(_why_empty(source, part, found))
    except OSError as error:
        problems.add(f"{folder}: cannot be listed ({storage.describe(error)}). Check permissions.")
        return Listing({}, (), (), ())
    return found


def _listing(source: Source, folder: str) -> Listing:
    """Raises OSError."""
    urls = storage.list_files(folder, recursive=True)
    every = {url[len(folder) + 1 :]: url for url in urls}
    names = [n for n in every if not set(JUNK_FOLDERS) & set(PurePosixPath(n).parts)]
    deeper: list[str] = []
    if source.kind != "folder":
        masks = f"{_folder(source, 'masks')}/"
        inner = [n for n in names if "/" in n and not every[n].startswith(masks)]
        deeper = [n for n in inner if n.lower().endswith((*IMAGE_SUFFIXES, *PICTURE_SUFFIXES))]
        names = [name for name in names if "/" not in name]
    read = {name: every[name] for name in names if name.lower().endswith(IMAGE_SUFFIXES)}
    missed = [name for name in names if name.lower().endswith(PICTURE_SUFFIXES)]
    others = [name for name in names if name not in read and name not in set(missed)]
    return Listing(read, tuple(missed), tuple(others), tuple(deeper))


def _check_missed(source: Source, images: Listing, problems: Problems) -> None:
    """A few pictures that are not read are told; where they are the most, the others are not what
    the folder is about."""
    if source.names_url is None and len(images.missed) > len(images.read):
        problems.add(
            f"{_folder(source, 'images')}: {_by_ending(images.missed)} are not read, and only "
            f"{len(images.read)} other images are. Convert them to PNG, or list the images to use "
            "in names_url."
        )


def _mixes_masks(source: Source, images: Iterable[str]) -> bool:
    tops = {PurePosixPath(name).parts[0] for name in images if "/" in name}
    return source.kind == "folder" and {source.images, source.masks} <= tops


def _why_empty(source: Source, part: Part, found: Listing) -> str:
    assert source.url is not None, "Source checks it"
    folder = _folder(source, part)
    if not storage.exists(source.url):
        return f"{source.url}: no such folder. Check the url; it must hold {part} ({_ENDINGS})."
    missing = f"no {part} in it" if storage.exists(folder) else "no such folder"
    if linked := _linked(folder, found):
        missing += f", but links to folders, which are not followed: {some(linked)}"
    elif found.missed or found.others:
        missing += f", but {_by_ending(found.missed + found.others)}, which are not read"
    everything = storage.list_files(source.url, IMAGE_SUFFIXES, recursive=True)
    others = {url[len(source.url) + 1 :].rpartition("/")[0] or "." for url in everything}
    others -= {source.images, source.masks}
    if source.kind == "pairs" and others:
        remedy = f"There are images in {some(sorted(others))}: set `{part}:` to the right one."
    else:
        formats = _ENDINGS if part == "images" else "one .png an image, value = class id"
        remedy = f"Put the {part} there, in a format that is read: {formats}."
    return f"{folder}: {missing}. {remedy}"


_ENDINGS = " ".join(IMAGE_SUFFIXES)


def _by_ending(names: Iterable[str]) -> str:
    """How many files of each ending: 3 .tif, 1 .gif."""
    endings = Counter(PurePosixPath(name).suffix.lower() or "without ending" for name in names)
    return some([f"{count:,} {ending}" for ending, count in endings.most_common()])


def _choose(source: Source, available: list[str], problems: Problems) -> list[str]:
    """The names to read: those of names_url, in its order, or all; the first num of them."""
    if source.names_url is None:
        return available[: source.num]
    wanted = _read_names(source.names_url, source.names_key, problems)[: source.num]
    known = set(available)
    missing = [name for name in wanted if name not in known]
    for i, name in enumerate(missing):
        near = _near(name, available) if i < _NUM_SEARCHED else ""
        problems.add(
            f"{source.names_url}: names {name}, which is not in {_folder(source, 'images')}.{near} "
            "Names are file names with their ending."
        )
    return [name for name in wanted if name in known]


def _read_names(url: str, key: str | None, problems: Problems) -> list[str]:
    """The list in the JSON file at url, or below key in it; empty where there is a problem."""
    try:
        content = json.loads(storage.read_text(url))
    except (OSError, ValueError, RecursionError) as error:
        why = storage.describe(error)
        problems.add(f"{url}: cannot be read ({why}). It must be a JSON list of image file names.")
        return []
    if isinstance(content, dict):
        if key not in content:
            problems.add(
                f"{url}: holds the lists {some(list(content))}. Set names_key to one, not {key!r}."
            )
            return []
        content = content[key]
    elif key is not None:
        problems.add(f"{url}: is one list, without keys. Leave names_key={key} out.")
        return []
    if not content or not isinstance(content, list) or not all(type(n) is str for n in content):
        problems.add(
            f"{url}: expected a list of one or more file names{f' at {key}' if key else ''}."
        )
        return []
    for name, count in Counter(content).items():
        if count > 1:
            problems.add(f"{url}: names {name} {count} times. Name it once.")
    return list(dict.fromkeys(content))


def _pair(
    source: Source, names: list[str], images: Listing, masks: Listing, problems: Problems
) -> dict[str, str]:
    """Image name -> URL of the one mask with the same stem; what has no partner is a problem."""
    masks_of, images_of = _by_stem(masks.read), _by_stem(images.read)
    chosen = {_stem(name) for name in names}
    missing = [name for name in names if _stem(name) not in masks_of]
    for i, name in enumerate(missing):
        near = _near(name, [*masks.read, *masks.missed]) if i < _NUM_SEARCHED else ""
        problems.add(
            f"{images.read[name]}: has no mask {_stem(name)}.png in {_folder(source, 'masks')}."
            f"{near} Add it, or list the images to use in names_url."
        )
    if source.names_url is None:
        unread = {_stem(name): name for name in images.missed}
        for name, url in masks.read.items():
            if _stem(name) not in images_of:
                other = unread.get(_stem(name))
                there = f" There is {other}, whose ending is not read." if other else ""
                problems.add(
                    f"{url}: mask without an image.{there} Add the image, or remove the mask."
                )
    for found, stems in ((images, images_of), (masks, masks_of)):
        for stem, same in stems.items():
            if stem in chosen and len(same) > 1:
                places = ", ".join(found.read[name] for name in same)
                problems.add(f"{places}: have the same stem {stem}. Keep one of them.")
    return {name: masks.read[masks_of[_stem(name)][0]] for name in names if _stem(name) in masks_of}


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    groups = defaultdict(list)
    for name in names:
        groups[_stem(name)].append(name)
    return groups


def _near(name: str, candidates: list[str]) -> str:
    """The end of a sentence that proposes a similar name, if there is one."""
    stem = _stem(name).casefold()
    same = (other for other in candidates if _stem(other).casefold() == stem)
    near = next(same, None) or next(iter(difflib.get_close_matches(name, candidates, 1)), None)
    return f" Did you mean {near}?" if near else ""
