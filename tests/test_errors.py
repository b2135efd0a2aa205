"""Claims about factory.errors."""

import ast
import errno
import pickle
import re
from collections.abc import Iterator

import pytest
import torch

from factory import errors
from factory.errors import (
    MAX_LENGTH,
    FactoryError,
    Incomplete,
    Problems,
    UserError,
    counted,
    is_out_of_memory,
    shown,
)
from tests.sources import trees


def test_all_problems_are_told_one_a_line() -> None:
    error = UserError(["a is wrong.", "b is wrong."])
    assert error.problems == ("a is wrong.", "b is wrong.")
    assert str(error) == "a is wrong.\nb is wrong."


def test_one_sentence_is_one_problem() -> None:
    assert UserError("a is wrong.").problems == ("a is wrong.",)


def test_an_error_crosses_process_borders_whole() -> None:
    copy = pickle.loads(pickle.dumps(UserError(["a", "b"])))
    assert isinstance(copy, UserError)
    assert copy.problems == ("a", "b") and str(copy) == "a\nb"


def test_noted_problems_are_raised_together_and_none_raise_nothing() -> None:
    problems = Problems()
    problems.raise_if_any()
    problems.add("a")
    problems.add("b")
    with pytest.raises(UserError) as refusal:
        problems.raise_if_any()
    assert refusal.value.problems == ("a", "b")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a\nb", "a\\nb"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\udcff.png", "\\udcff.png"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("zwölf 中", "zwölf 中"),
    ],
)
def test_a_line_is_shown_without_what_a_terminal_would_act_on(line: str, expected: str) -> None:
    assert shown(line) == expected


def test_a_long_line_keeps_its_ends_and_stays_as_it_is_when_shown_again() -> None:
    line = "path: " + "x" * 10_000 + " Remove it."
    assert shown(line).startswith("path: x") and shown(line).endswith("x Remove it.")
    assert len(shown(line)) == MAX_LENGTH and shown(shown(line)) == shown(line)


def test_problems_are_kept_as_shown_and_keep_their_own_lines() -> None:
    assert UserError("a\nb\tc").problems == ("a\nb\\tc",)
    assert UserError(["a" * 10_000]).problems == (shown("a" * 10_000),)


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory"),
            True,
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_memory_that_ran_out_is_known_by_type_or_words(error: Exception, is_it: bool) -> None:
    assert is_out_of_memory(error) is is_it


def test_torch_really_says_so_on_a_cpu() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def tree(error: type[BaseException], depth: int = 0) -> Iterator[tuple[int, str]]:
    """Depth and name of a class and of all below it."""
    yield depth, error.__name__
    for below in error.__subclasses__():
        yield from tree(below, depth + 1)


def test_the_tree_that_is_drawn_is_that_of_the_classes() -> None:
    lines = (re.match(r"([|` -]*)([A-Z]\w+)", line) for line in (errors.__doc__ or "").splitlines())
    drawn = [(len(m[1]) // 3, m[2]) for m in lines if m and m[2].endswith(_ENDINGS)]
    assert sorted(drawn) == sorted(tree(FactoryError))


_ENDINGS = tuple(name for _, name in tree(FactoryError))


@pytest.mark.slow
def test_every_exception_of_the_package_that_leaves_its_module_is_in_the_tree() -> None:
    for path, module in trees().items():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef) and path != "factory/errors.py":
                bases = {ast.unparse(base) for base in node.bases}
                ours = bases & {"Exception", "ValueError", "RuntimeError", *_ENDINGS}
                assert not ours or node.name.startswith("_"), f"{path}: {node.name}"


def test_what_is_incomplete_crosses_process_borders_whole() -> None:
    copy = pickle.loads(pickle.dumps(Incomplete("2 shards are missing", [1, 3])))
    assert (str(copy), copy.shards) == ("2 shards are missing", [1, 3])


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("file",), "0 files"),
        (1, ("file",), "1 file"),
        (2000, ("file",), "2,000 files"),
        (1.0, ("CPU",), "1 CPU"),
        (0.5, ("CPU",), "0.5 CPUs"),
        (1, ("mask has", "masks have"), "1 mask has"),
        (3, ("mask has", "masks have"), "3 masks have"),
    ],
)
def test_one_of_a_thing_is_told_in_the_singular(
    number: float, words: tuple[str, ...], said: str
) -> None:
    assert counted(number, *words) == said
