"""The files of a source that is kept in shards: many images each, in Parquet files or tars.

Such files are named by a folder, one file, or a pattern with braces: `train-{00000..00009}.tar`.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from factory import storage
from factory.data.files import archives, listing
from factory.data.files.listing import DATA, RUN
from factory.data.files.trees import FolderTree, Tree
from factory.data.recognizing.candidates import split_name, split_of
from factory.errors import Problems, counted, some

_SUCCESS, _CLASSES = "_SUCCESS", "id2label.json"
"""Files of the datasets that `factory generate` writes."""
_BRACES = re.compile(r"\{(?:(?P<first>\d+)\.\.(?P<last>\d+)|(?P<words>[^{},]*(?:,[^{},]*)+))\}")
_MAX_FILES = 100_000
"""A pattern stands for no more files."""
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass(frozen=True)
class ShardFiles:
    """The files of a source, none of them opened yet."""

    tree: Tree
    names: tuple[str, ...]
    """Names of the tree, sorted."""
    classes: str | None = None
    """The file of the classes, if the files are those of a dataset that `factory generate` wrote:
    a name of the tree."""


def find(url: str, ending: str, split: str | None, problems: Problems) -> ShardFiles | None:
    """The files with an ending that a URL and a split mean; None after a problem, which is added.

    ending: in lower case, such as `.tar`.
    """
    try:
        with problems.collected():
            found = _files(url, ending, problems)
            if found is not None and found.names:
                return _of_split(found, url, split, problems)
    except OSError as error:
        problems.add(listing.cannot_list(url, error))
    return None


def expanded(pattern: str) -> Iterator[str]:
    """The names that a pattern with braces stands for, in its order.

    >>> list(expanded("{a,b}-{08..10}"))
    ['a-08', 'a-09', 'a-10', 'b-08', 'b-09', 'b-10']
    """
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    if braces["words"] is not None:
        words = iter(braces["words"].split(","))
    else:
        width = len(braces["first"])
        words = (f"{i:0{width}}" for i in range(int(braces["first"]), int(braces["last"]) + 1))
    for word in words:
        for rest in expanded(pattern[braces.end() :]):
            yield f"{pattern[: braces.start()]}{word}{rest}"


def _files(url: str, ending: str, problems: Problems) -> ShardFiles | None:
    """The files that a URL means, of all splits."""
    if found := archives.split(url):
        problems.add(
            f"{url}: {ending} files are not read inside a .zip archive, as no part of a packed "
            f"file is at hand. {archives.how_to_unpack(found[0])}"
        )
        return None
    above, _, name = url.rpartition("/")
    if url.lower().endswith(_PACKED):
        problems.add(_why_packed(url, [name], ""))
        return None
    if _BRACES.search(url):
        return _of_pattern(url, problems)
    if name.lower().endswith(ending) and storage.is_file(url):
        return ShardFiles(FolderTree(above), (name,))
    tree = FolderTree(url)
    every = tree.names()
    if RUN in every:
        return _of_dataset(tree, every, ending, problems)
    names = tuple(each for each in every if each.lower().endswith(ending))
    packed = [each for each in every if each.lower().endswith(_PACKED)] if ending == ".tar" else []
    if packed:
        problems.add(_why_packed(url, packed, ", or name the others in `url:`" if names else ""))
        return None
    if not names:
        held = f"it holds {listing.by_ending(every)}" if every else "there is no such folder"
        problems.add(
            f"{url}: no {ending} file is there; {held}. Name a folder of {ending} files, or one of "
            "them, in `url:`."
        )
    return ShardFiles(tree, names)


def _why_packed(url: str, names: list[str], otherwise: str) -> str:
    """The problem of tars that are packed as a whole, so that no member can be read by itself."""
    return (
        f"{url}: {some(names)} must be read from the beginning for each image. Unpack the tars "
        f"themselves once, as by `gunzip`, and name the .tar files in `url:`{otherwise}."
    )


def _of_pattern(url: str, problems: Problems) -> ShardFiles | None:
    """The files of a pattern, all of which must be there."""
    start = url.rfind("/", 0, url.index("{")) + 1
    tree, pattern = FolderTree(url[: start - 1]), url[start:]
    names = list(islice(expanded(pattern), _MAX_FILES + 1))
    if not names or len(names) > _MAX_FILES:
        problems.add(
            f"{url}: the braces stand for {'more than' if names else 'no file, not for one of'} "
            f"{_MAX_FILES:,} files. Write {{first..last}} in `url:`, or name a folder."
        )
        return None
    known = set(tree.names())
    if missing := [name for name in names if name not in known]:
        problems.add(
            f"{url}: {len(missing):,} of {counted(len(names), 'file')} are not there: "
            f"{some(missing)}. Write the numbers of those that are there in `url:`."
        )
        return None
    return ShardFiles(tree, tuple(sorted(set(names))))


def _of_dataset(
    tree: FolderTree, every: list[str], ending: str, problems: Problems
) -> ShardFiles | None:
    """The shards of a dataset that `factory generate` wrote, if it is finished."""
    if _SUCCESS not in every:
        problems.add(
            f"{tree.url}: is a dataset that is not finished. Run its `factory generate` again, or "
            f"name the shards that are there: `url: {tree.url_of(DATA.rstrip('/'))}`."
        )
        return None
    names = tuple(n for n in every if n.startswith(DATA) and n.lower().endswith(ending))
    if not names:
        kind = "parquet" if ending != ".parquet" else "webdataset"
        problems.add(f"{tree.url}: its shards are no {ending} files. Set `kind: {kind}`.")
    return ShardFiles(tree, names, _CLASSES if _CLASSES in every else None)


def _of_split(
    files: ShardFiles, url: str, split: str | None, problems: Problems
) -> ShardFiles | None:
    """The files of a split. Without one there may be no files of several."""
    splits = Counter(found for name in files.names if (found := split_of(name)))
    listed = some([f"{name} ({counted(num, 'file')})" for name, num in splits.items()])
    if split is None:
        if len(splits) > 1:
            first = next(iter(splits))
            problems.add(
                f"{url}: holds files of several splits: {listed}. Choose one of them, such as "
                f"`split: {first}`."
            )
            return None
        return files
    wanted = split_name(split)
    names = tuple(name for name in files.names if split_of(name) == wanted)
    if not names:
        known = f"there is {listed}" if splits else "the names of its files tell none"
        problems.add(f"{url}: no file is of `split: {split}`; {known}. Set another, or none.")
        return None
    return ShardFiles(files.tree, names, files.classes)
