"""Looks into many files at once; what is wrong with them is told in the order of the files."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from factory.alike import of_file
from factory.data.files import listing
from factory.data.files.trees import Tree
from factory.errors import Problems, UnreadableImage, UserError
from factory.threads import NUM_THREADS

T = TypeVar("T")
_MAX_AT_ONCE = 64
"""Files that a thread looks into one after the other."""


def looked(
    look: Callable[[Tree, str], T], tree: Tree, names: Sequence[str], problems: Problems
) -> list[T | None]:
    """What a look into each file of a tree gives; None for those with a problem, which is added.

    A look may raise UserError, UnreadableImage, whose message continues the file's URL, and
    OSError.
    """
    # A task for each of many small files would take longer than the files.
    num = min(_MAX_AT_ONCE, 1 + len(names) // (NUM_THREADS * NUM_THREADS))
    some = [names[start : start + num] for start in range(0, len(names), num)]
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        found = pool.map(lambda few: [_looked(look, tree, name) for name in few], some)
        pairs = [each for few in found for each in few]
    problems.found.extend(problem for _, own in pairs for problem in own)
    return [seen for seen, _ in pairs]


def _looked(look: Callable[[Tree, str], T], tree: Tree, name: str) -> tuple[T | None, list[str]]:
    """What a look into a file gives, or what is wrong with it."""
    url = tree.url_of(name)
    try:
        return look(tree, name), []
    except UserError as error:
        return None, [of_file(url, problem.removeprefix(f"{url}: ")) for problem in error.problems]
    except UnreadableImage as error:
        return None, [error.of(url)]
    except OSError as error:
        return None, [listing.cannot_read(url, error)]
