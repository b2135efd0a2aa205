"""Which sections may read what lies at a url, and which of them is meant."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from factory import storage
from factory.data.files import archives, listing
from factory.data.recognizing.candidates import SHARD_ENDINGS, Candidate, split_name
from factory.errors import Problems, some
from factory.yaml_writing import as_yaml

if TYPE_CHECKING:
    from factory.data.files.trees import Tree


def recognise(url: str, problems: Problems) -> "tuple[Tree, list[Candidate]] | None":
    """The tree of a url, and the sections that may read it; None after a problem."""
    from factory.data.recognizing import recognition

    try:
        if shard := _shard(url):
            return shard
        tree = listing.open_tree(url, problems)
        if tree is None:
            return None
        with problems.collected():
            found = recognition.candidates(tree, url)
            if found:
                return tree, found
            problems.add(_nothing_known(tree, url))
    except OSError as error:
        problems.add(listing.cannot_list(url, error))
    return None


def _shard(url: str) -> "tuple[Tree, list[Candidate]] | None":
    """The folder of a single file of shards, and the section that reads this file alone; None of
    any other url. Raises OSError."""
    from factory.data.files.trees import FolderTree

    folder, _, name = url.rpartition("/")
    for kind, ending in SHARD_ENDINGS.items():
        if name.lower().endswith(ending) and not archives.split(url) and storage.is_file(url):
            return FolderTree(folder), [Candidate({"kind": kind, "url": url})]
    return None


def only_one(
    candidates: "Sequence[Candidate]", split: str | None, url: str, problems: Problems
) -> "dict[str, Any] | None":
    """The keys of the candidate, or of its split; None after a problem, which has the choices."""
    if split is not None and not any(split in c.splits for c in candidates):
        split = split_name(split)
    with_split = [c for c in candidates if split is None or split in c.splits]
    if len(with_split) == 1 and (split is not None or not with_split[0].needs_split):
        return with_split[0].of_split(split)
    choices = [
        choice
        for c in with_split or candidates
        for choice in (map(c.of_split, c.splits) if c.splits else [dict(c.keys)])
    ]
    what = f"has no split {split}" if not with_split else "may be read in several ways"
    lines = " or ".join(f"`{as_yaml(choice)}`" for choice in choices)
    problems.add(f"{url}: {what}. Write {lines}.")
    return None


def _nothing_known(tree: "Tree", url: str) -> str:
    names = tree.names()
    there, advice = listing.by_ending(names), listing.advice_on_archives(names)
    if not tree.is_there(""):
        return f"{url}: no such folder. Check the path."
    holds = f"holds {there}, and" if there else "is empty:"
    if links := listing.Listing(tree, others=tuple(names)).links:
        holds = f"holds links to folders, which are not followed: {some(links)}; and"
        advice = f" Name what a link leads to, such as {tree.url_of(links[0])}.{advice}"
    return f"{url}: {holds} no images that are read.{advice} What is read: {listing.ENDINGS}."
