"""Lists the files of a source: which files are read, which are not though they may be meant."""

import difflib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from factory import storage
from factory.alike import of_file
from factory.data.files import archives
from factory.data.files.patterns import ImagePattern, parse_images
from factory.errors import Problems, some

if TYPE_CHECKING:
    from factory.data.files.trees import Tree

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".npy"),
    *(".npz", ".jp2", ".j2k", ".avif", ".ppm", ".pgm"),
)
"""Endings of the files that are read, in lower case."""
PICTURE_SUFFIXES = (
    *(".heic", ".heif", ".jpx", ".jpf", ".jxl"),
    *(".jpe", ".jif", ".jfi", ".pjpeg", ".pjp", ".jxr", ".wdp", ".hdp", ".dib", ".apng", ".mpo"),
    *(".pcx", ".sgi", ".fits", ".fit", ".mat", ".img", ".qoi", ".pfm", ".xpm", ".xbm", ".j2c"),
    *(".dcm", ".dicom", ".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".mrc"),
    *(".svs", ".ndpi", ".czi", ".lif", ".nd2", ".vsi", ".exr", ".hdr", ".pbm"),
    *(".pnm", ".tga", ".ico", ".psd", ".dng", ".cr2", ".nef", ".arw", ".raw", ".svg", ".pdf"),
)
"""Endings of pictures that are not read: such files are reported, all others are noise."""
RUN, DATA = "_factory/run.json", "data/"
"""What datasets of this factory have beside other files: their plan, and the folder of shards."""
_PACKED = (".tar", ".nii")
"""Endings that another one follows where a file is compressed."""
ENDINGS = " ".join(IMAGE_SUFFIXES)
"""The endings that are read, as messages list them."""
MAX_SUGGESTIONS = 5
"""The number of missing names that get a `suggestion`: searching is slow among many files."""


@dataclass(frozen=True)
class Listing:
    """The contents of a folder of a tree, as names below it."""

    tree: "Tree"
    below: str = ""
    """The folder, as a name of the tree; empty for its root."""
    read: tuple[str, ...] = ()
    """Files whose ending is read, sorted."""
    missed: tuple[str, ...] = ()
    """Pictures whose ending is not read, sorted."""
    others: tuple[str, ...] = ()
    """All other files, sorted."""

    @property
    def folder(self) -> str:
        """The folder in messages."""
        return self.tree.url_of(self.below)

    def path(self, name: str) -> str:
        """The file's name in the tree."""
        return f"{self.below}/{name}" if self.below else name

    def url_of(self, name: str) -> str:
        """The file in messages."""
        return self.tree.url_of(self.path(name))

    @property
    def links(self) -> list[str]:
        """The links to folders, which are listed as files and not followed."""
        if not storage.is_local(self.folder):
            return []
        return [name for name in self.others if os.path.isdir(self.url_of(name))]


def names_below(folder: str, paths: Iterable[str]) -> tuple[str, ...]:
    """Those of some files that lie below a folder, as names below it; folder, paths: names of a
    tree."""
    prefix = f"{folder}/" if folder else ""
    return tuple(path[len(prefix) :] for path in paths if path.startswith(prefix))


def shared_folder(paths: Sequence[str]) -> str:
    """The folder that all files lie in or below, as a name of their tree; empty without any."""
    return os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""


def of_shared_folder(tree: "Tree", paths: Sequence[str]) -> Listing:
    """Pictures of a tree as those of the folder that all of them lie in or below."""
    below = shared_folder(paths)
    return Listing(tree, below, names_below(below, paths))


def list_folder(
    tree: "Tree", below: str, problems: Problems, apart: str | None = None
) -> Listing | None:
    """Lists a folder of a tree with its sub-folders; None if it cannot be, which is a problem.

    apart: a folder of the tree that is known to hold something else: if it lies inside, its files
    are left out.
    """
    start = len(below) + 1 if below else 0
    try:
        with problems.collected():
            names = tree.names(below)
            if apart and apart != below and f"{apart}/".startswith(f"{below}/" if below else ""):
                names = [name for name in names if not name.startswith(f"{apart}/")]
            return _sorted_out(tree, below, [name[start:] for name in names])
    except OSError as error:
        problems.add(cannot_list(tree.url_of(below), error))
    return None


def meant(files: Listing, pattern: ImagePattern, exclude: Sequence[ImagePattern] = ()) -> Listing:
    """The files of a listing that a pattern means, of the folder that is above all of them.

    exclude: patterns of names of the tree, whose files are left out.
    """

    def is_meant(name: str) -> bool:
        path = files.path(name)
        return bool(pattern.match(name)) and not any(other.means(path) for other in exclude)

    if pattern.is_folder and not exclude:
        return files
    return replace(
        files,
        read=tuple(filter(is_meant, files.read)),
        missed=tuple(filter(is_meant, files.missed)),
        others=files.others if pattern.is_folder else tuple(files.links),
    )


def _sorted_out(tree: "Tree", below: str, names: Iterable[str]) -> Listing:
    """Files sorted by whether they are read."""
    read: list[str] = []
    missed: list[str] = []
    others: list[str] = []
    for name in names:
        lower = name.lower()
        if lower.endswith(IMAGE_SUFFIXES):
            read.append(name)
        else:
            (missed if lower.endswith(PICTURE_SUFFIXES) else others).append(name)
    return Listing(tree, below, tuple(read), tuple(missed), tuple(others))


def open_tree(url: str, problems: Problems) -> "Tree | None":
    """The tree of a source's url; None if there is a problem with all of it, which is added."""
    from factory.data.files import trees

    try:
        with problems.collected():
            return trees.open_tree(url)
    except OSError as error:
        problems.add(cannot_list(url, error))
    return None


def cannot_list(folder: str, error: OSError) -> str:
    """The problem of a folder that cannot be listed."""
    return str(storage.to_user_error(folder, error, "listed", "Check permissions."))


def cannot_read(url: str, error: OSError) -> str:
    """The problem of a file that cannot be read."""
    return of_file(url, f"cannot be read ({storage.describe(error)}). Restore or remove it.")


def no_folder(url: str, part: str) -> str:
    """The problem of a folder that does not exist. part: "images" or "masks"."""
    return f"{url}: no such folder. Check the url; it must hold {part} ({ENDINGS})."


def what_is_missing(listing: Listing, part: str) -> str:
    """Returns what a folder lacks from which no file is read, and what it holds instead.

    part: "images" or "masks".
    """
    missing = f"no {part} in it" if listing.tree.is_there(listing.below) else "no such folder"
    if links := listing.links:
        missing += f", but links to folders, which are not followed: {some(links)}"
    elif listing.missed or listing.others:
        missing += f", but {by_ending(listing.missed + listing.others)}, which are not read"
    return f"{listing.folder}: {missing}.{advice_on_archives(listing.others)}"


def advice_on_archives(names: Iterable[str]) -> str:
    """A sentence on the archives among files of which none is read; empty without any. Tars are
    those of another kind."""
    packed = [name for name in names if archives.is_packed(name) and not name.endswith(".tar")]
    return f" Unpack the archives among them: {some(packed)}." if packed else ""


def no_match(files: Listing, key: str, pattern: str) -> str:
    """The problem of a pattern that means none of the files below its folder."""
    first = files.read[0] if files.read else None
    such = f", such as {files.path(first)}" if first is not None else ""
    return (
        f"{files.folder}: `{key}: {pattern}` means none of the {len(files.read):,} images in it"
        f"{such}. Write * for what differs within a name, and **/ for folders"
        f"{_pattern_of(files, key, pattern)}."
    )


def _pattern_of(files: Listing, key: str, pattern: str) -> str:
    """A pattern like another one that means most of the files, as the end of a sentence; empty if
    none does."""
    endings = Counter(PurePosixPath(name).suffix for name in files.read)
    any_name = f"*{endings.most_common(1)[0][0]}" if endings else "*"
    file = pattern.rpartition("/")[2]
    for name in (file, any_name):
        text = "/".join(filter(None, (files.below, "**", name)))
        if 2 * sum(map(parse_images(text).means, map(files.path, files.read))) > len(files.read):
            return f': {key}: "{text}"'
    return ""


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
    return found


def by_ending(names: Iterable[str]) -> str:
    """Counts the files of each ending: 3 .tif, 1 .tar.gz, 2 .nii.gz."""
    endings = Counter(_ending(name) or "without ending" for name in names)
    return some([f"{count:,} {ending}" for ending, count in endings.most_common()])


def _ending(name: str) -> str:
    """The ending of a file's name, both of them where an archive or a volume is packed."""
    path = PurePosixPath(name.lower())
    inner = PurePosixPath(path.stem).suffix
    return f"{inner}{path.suffix}" if inner in _PACKED else path.suffix


def stem(name: str) -> str:
    """The file's name without its ending."""
    return PurePosixPath(name).stem


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """The end of a sentence that proposes a similar name, empty if there is none."""
    names, folded = list(candidates), stem(name).casefold()
    same = (other for other in names if stem(other).casefold() == folded)
    near = next(same, None) or next(iter(difflib.get_close_matches(name, names, 1)), None)
    return f" Did you mean {near}?" if near else ""
