"""The one kind of error that a user can cause and the command line knows how to tell."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

MAX_LENGTH = 600
"""Characters of a line that people read to its end."""


class UserError(Exception):
    """Something in the user's hands is wrong: a config, a folder, a model, an output place.

    Carries every problem found, each a sentence that says what, where and what to do. The command
    line prints them, one a line, and exits with code 2. Names and values come from outside:
    problems are kept as `shown`, line by line.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (
            (_shown_lines(problems),)
            if isinstance(problems, str)
            else tuple(map(_shown_lines, problems))
        )
        assert self.problems, "a UserError names at least one problem"
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type["UserError"], tuple[tuple[str, ...]]]:
        # Crosses process borders whole.
        return UserError, (self.problems,)


class Problems:
    """Collects problems, so that all are told at once.

    >>> problems = Problems()
    >>> problems.add("num: must be a whole number >= 1, got '0'")
    >>> problems.raise_if_any()
    Traceback (most recent call last):
    factory.errors.UserError: num: must be a whole number >= 1, got '0'
    """

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, problem: str) -> None:
        """Notes one problem."""
        self.found.append(problem)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Notes the problems of a UserError that the body ends with."""
        try:
            yield
        except UserError as error:
            self.found.extend(error.problems)

    def raise_if_any(self) -> None:
        """Raises UserError with all that was noted, if anything was."""
        if self.found:
            raise UserError(self.found)


_OUT_OF_MEMORY = ("out of memory", "allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the machine or of a GPU: torch says so in words only."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    told = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in told for words in _OUT_OF_MEMORY)
    )


def some(names: Sequence[str], num: int = 6) -> str:
    """The names, or the first of them and how many more there are."""
    rest = len(names) - num
    return ", ".join(names[:num]) + (f" and {rest} more" if rest > 0 else "")


def shown(line: str) -> str:
    """The line as a terminal may show it: escapes for unprintable characters, line ends among
    them, and without its middle where it is longer than MAX_LENGTH."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    if len(plain) <= MAX_LENGTH:
        return plain
    return f"{plain[: MAX_LENGTH // 2]} ... {plain[5 - MAX_LENGTH // 2 :]}"


def _shown_lines(text: str) -> str:
    """The text with each of its lines as `shown`."""
    return "\n".join(map(shown, text.split("\n")))
