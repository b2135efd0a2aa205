"""Lists a folder of images: which files are read, which are not though they may be meant."""

import difflib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from factory import storage
from factory.errors import Problems, some

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
PICTURE_SUFFIXES = (
    *(".tif", ".tiff", ".gif", ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jpx", ".jxl", ".jfif"),
    *(".jpe", ".jif", ".jfi", ".pjpeg", ".pjp", ".jxr", ".wdp", ".hdp", ".dib", ".apng", ".mpo"),
    *(".pcx", ".sgi", ".fits", ".fit", ".mat", ".img", ".qoi", ".pfm", ".xpm", ".xbm", ".j2c"),
    *(".npy", ".npz", ".dcm", ".dicom", ".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".mrc"),
    *(".svs", ".ndpi", ".czi", ".lif", ".nd2", ".vsi", ".exr", ".hdr", ".pgm", ".ppm", ".pbm"),
    *(".pnm", ".tga", ".ico", ".psd", ".dng", ".cr2", ".nef", ".arw", ".raw", ".svg", ".pdf"),
)
"""Endings of pictures that are not read: such files are reported, all others are noise."""
ENDINGS = " ".join(IMAGE_SUFFIXES)
"""The endings that are read, as messages list them."""
MAX_SUGGESTIONS = 5
"""The number of missing names that get a `suggestion`: searching is slow among many files."""
JUNK_FOLDERS = ("__MACOSX", "@eaDir")
"""Folders that macOS and NAS boxes put among people's files."""


@dataclass(frozen=True)
class Listing:
    """The folder's contents, as paths below it."""

    folder: str
    read: dict[str, str] = field(default_factory=dict)
    """Path -> URL of each file whose ending is read, sorted."""
    missed: tuple[str, ...] = ()
    """Pictures whose ending is not read, sorted."""
    others: tuple[str, ...] = ()
    """All other files, sorted."""
    deeper: tuple[str, ...] = ()
    """Pictures in sub-folders that are not looked into, sorted."""

    @property
    def links(self) -> list[str]:
        """The links to folders, which are listed as files and not followed."""
        if not storage.is_local(self.folder):
            return []
        return [name for name in self.others if os.path.isdir(storage.join(self.folder, name))]


def list_folder(folder: str, with_subfolders: bool, apart: str | None = None) -> Listing:
    """Lists a folder once. Raises OSError.

    apart: a folder below it that is known to hold something else: its pictures are not `deeper`.
    """
    urls = storage.list_files(folder, recursive=True)
    every = {url[len(folder) + 1 :]: url for url in urls}
    names = [n for n in every if not set(JUNK_FOLDERS) & set(PurePosixPath(n).parts)]
    deeper: list[str] = []
    if not with_subfolders:
        inner = [n for n in names if "/" in n and not (apart and every[n].startswith(f"{apart}/"))]
        deeper = [n for n in inner if n.lower().endswith((*IMAGE_SUFFIXES, *PICTURE_SUFFIXES))]
        names = [name for name in names if "/" not in name]
    read = {name: every[name] for name in names if name.lower().endswith(IMAGE_SUFFIXES)}
    missed = [name for name in names if name.lower().endswith(PICTURE_SUFFIXES)]
    others = [name for name in names if name not in read and name not in set(missed)]
    return Listing(folder, read, tuple(missed), tuple(others), tuple(deeper))


def is_a_file(url: str, problems: Problems) -> bool:
    """True if the URL of a folder is that of a file on this machine, which is a problem."""
    if not storage.is_local(url) or not os.path.isfile(url):
        return False
    problems.add(f"{url}: is a file. Name the folder that holds it.")
    return True


def cannot_list(folder: str, error: OSError) -> str:
    """The problem of a folder that cannot be listed."""
    return f"{folder}: cannot be listed ({storage.describe(error)}). Check permissions."


def no_folder(url: str, part: str) -> str:
    """The problem of a folder that does not exist. part: "images" or "masks"."""
    return f"{url}: no such folder. Check the url; it must hold {part} ({ENDINGS})."


def what_is_missing(listing: Listing, part: str) -> str:
    """Returns what a folder lacks from which no file is read, and what it holds instead.

    part: "images" or "masks".
    """
    missing = f"no {part} in it" if storage.exists(listing.folder) else "no such folder"
    if links := listing.links:
        missing += f", but links to folders, which are not followed: {some(links)}"
    elif listing.missed or listing.others:
        missing += f", but {by_ending(listing.missed + listing.others)}, which are not read"
    return f"{listing.folder}: {missing}."


def check_missed(images: Listing, problems: Problems) -> None:
    """Refuses a folder in which most pictures are not read: the others are not what it is about."""
    if len(images.missed) > len(images.read):
        problems.add(
            f"{images.folder}: {by_ending(images.missed)} are not read, and only "
            f"{len(images.read)} other images are. Convert them to PNG, or list the images to use "
            "in names_url."
        )


def oddities(images: Listing) -> list[str]:
    """Sentences on what lies beside the images and is not read, though it may be meant.

    Most pictures not being read, or all of them, is a problem instead.
    """
    found = []
    links = images.links
    nameless = [n for n in images.others if not PurePosixPath(n).suffix and n not in links]
    if len(images.missed) <= len(images.read) and (unread := [*images.missed, *nameless]):
        found.append(f"{images.folder}: {by_ending(unread)} are not read. What is read: {ENDINGS}.")
    if links:
        found.append(f"{images.folder}: links to folders are not followed: {some(links)}.")
    if images.deeper:
        folders = some(sorted({str(PurePosixPath(name).parent) for name in images.deeper}))
        found.append(
            f"{images.folder}: {len(images.deeper):,} pictures in its sub-folders {folders} are "
            "not read: kind pairs reads one folder of images. Name the one that is meant in "
            "`images:`."
        )
    return found


def by_ending(names: Iterable[str]) -> str:
    """Counts the files of each ending: 3 .tif, 1 .gif."""
    endings = Counter(PurePosixPath(name).suffix.lower() or "without ending" for name in names)
    return some([f"{count:,} {ending}" for ending, count in endings.most_common()])


def stem(name: str) -> str:
    """The file's name without its ending."""
    return PurePosixPath(name).stem


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """The end of a sentence that proposes a similar name, empty if there is none."""
    names, folded = list(candidates), stem(name).casefold()
    same = (other for other in names if stem(other).casefold() == folded)
    near = next(same, None) or next(iter(difflib.get_close_matches(name, names, 1)), None)
    return f" Did you mean {near}?" if near else ""
