"""Claims about factory.errors."""

import pickle

import pytest

from factory.errors import Problems, UserError


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
