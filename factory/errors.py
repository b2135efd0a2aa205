"""All exceptions of the package, in one tree.

FactoryError
|- UserError           A config, a folder, a model or a URL is wrong: nothing was started.
|- TrainingFailed      A training stopped; the same command goes on from its last checkpoint.
|- Stopped             A training stops on all its workers at once.
|- GenerationFailed    A job stopped; finished shards are kept, and the same command goes on.
|  `- PoolFailed       Its actors cannot go on.
|- Incomplete          Shards of a dataset are missing or altered.
|- ShardConflict       A shard's file holds other bytes than a run made.
|- UnlikeHardware      This process would make other bytes than those before it.
|- CannotCompile       The machine lacks what compiling needs.
|- CannotChoose        Too few of a shard's draws are what its plan asks for.
|- ChangedSource       An image is not the one that a dataset's plan is for, or is gone.
|- NotFinite           A training's state holds numbers that are not finite.
|- UnreadableImage     Bytes are no image that is read; also a ValueError.
|  `- SeveralFrames    They are several images, and nothing says which is meant.
`- DamagedShard        Bytes are no whole shard, or a sample breaks the contract; also a ValueError.

What the system refuses stays an OSError. The command line tells each of them in one message.
"""

import errno
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches

from factory.alike import Alike, Span, each_kind_once, of_file

MAX_LENGTH = 600
"""A longer line is shown without its middle; people do not read it to its end."""


class FactoryError(Exception):
    """The base class of all exceptions of the package."""


class UserError(FactoryError):
    """A mistake that a user can mend: in a config, a folder, a model, an output URL.

    Carries every problem found, each a sentence that says what, where and what to do; those of one
    kind that many files have are one. The command line prints them, one a line, and exits with code
    2. Names and values come from outside: problems are kept as `shown`, line by line.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (
            (_shown_lines(problems),)
            if isinstance(problems, str)
            else tuple(map(_shown_lines, each_kind_once(problems)))
        )
        assert self.problems, "a UserError names at least one problem"
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type["UserError"], tuple[tuple[str, ...]]]:
        # Crosses process borders whole.
        return UserError, (self.problems,)


class TrainingFailed(FactoryError):
    """A training stopped; checkpoints are kept, and the same command goes on from the last one."""


class Stopped(FactoryError):
    """A training stops on all its workers at the same point, and none waits for another one; the
    message says why."""


class GenerationFailed(FactoryError):
    """A job stopped before all shards were made; finished shards stay, and it can be resumed."""


class PoolFailed(GenerationFailed):
    """The actors of a job cannot go on; the message says why."""


class Incomplete(FactoryError):
    """Shards of a dataset are missing or altered; `shards` are their numbers."""

    def __init__(self, message: str, shards: Sequence[int]) -> None:
        self.shards = shards
        super().__init__(message)

    def __reduce__(self) -> tuple[type["Incomplete"], tuple[str, Sequence[int]]]:
        return Incomplete, (str(self), self.shards)


class ShardConflict(FactoryError):
    """A shard's file holds other bytes: they were made differently, or altered since."""


class UnlikeHardware(FactoryError):
    """This process would make other bytes of the same plan than those before it."""


class CannotCompile(FactoryError):
    """The machine lacks what compiling needs; `reason` says what.

    section: the section of the config whose key turns it off.
    """

    def __init__(self, reason: str, section: str = "generate") -> None:
        self.reason, self.section = reason, section
        super().__init__(f"{reason}. Turn it off: --set {section}.compile=false.")

    def __reduce__(self) -> tuple[type["CannotCompile"], tuple[str, str]]:
        return CannotCompile, (self.reason, self.section)


class CannotChoose(FactoryError):
    """Too few of the images that were drawn for a shard are what its plan asks for."""


class ChangedSource(FactoryError):
    """An image of a source is gone, or has changed since a dataset of labels was begun."""


class NotFinite(FactoryError):
    """A training has diverged: its state holds numbers that are not finite."""


class UnreadableImage(FactoryError, ValueError):
    """Bytes are no image that can be read; the message says why.

    own: the part of the message, besides numbers, that is of this file alone. span: the values that
    it proposes, as `factory.alike.span_text` has them.
    """

    def __init__(self, message: str, own: str = "", span: Span | None = None) -> None:
        self.own, self.span = own, span
        super().__init__(message)

    def of(self, url: str) -> Alike:
        """The problem of the file of this url."""
        return of_file(url, str(self), self.own, span=self.span)

    def within(self, message: str, own: str = "") -> "UnreadableImage":
        """The same error with a message that holds this one."""
        return type(self)(message, own or self.own, self.span)


class SeveralFrames(UnreadableImage):
    """A file holds several images, and nothing says which of them is meant."""


class DamagedShard(FactoryError, ValueError):
    """Bytes are no whole shard, or a sample breaks the contract; the message says why."""


class Problems:
    """Collects problems, so that all are reported at once.

    >>> problems = Problems()
    >>> problems.add("num: must be a whole number >= 1, got '0'")
    >>> problems.raise_if_any()
    Traceback (most recent call last):
    factory.errors.UserError: num: must be a whole number >= 1, got '0'
    """

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, problem: str) -> None:
        """Adds one problem."""
        self.found.append(problem)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Adds the problems of a UserError that the body raises."""
        try:
            yield
        except UserError as error:
            self.found.extend(error.problems)

    def raise_if_any(self) -> None:
        """Raises UserError with all problems, if there are any."""
        if self.found:
            raise UserError(self.found)


_OUT_OF_MEMORY = ("out of memory", "allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """True if the memory of the machine or of a GPU ran out, which torch says in words only."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    message = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in message for words in _OUT_OF_MEMORY)
    )


def nearest(name: str, known: Collection[str]) -> str:
    """Returns advice about an unknown name: the nearest one, or all that are known."""
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(known)}."


def counted(num: float, one: str, more: str | None = None) -> str:
    """Returns a number with its noun, as '1 file', '2,000 files' or '0.5 CPUs'.

    more: what follows any number but 1; by default what follows 1, with an s.
    """
    number = f"{num:g}" if isinstance(num, float) else f"{num:,}"
    return f"{number} {one if num == 1 else more or f'{one}s'}"


def some(names: Sequence[str], num: int = 6) -> str:
    """Joins the names, or the first of them and how many more there are."""
    rest = len(names) - num
    return ", ".join(names[:num]) + (f" and {rest} more" if rest > 0 else "")


def shown(line: str) -> str:
    """The line as a terminal may show it: unprintable characters, line ends among them, become
    escapes, and a line longer than MAX_LENGTH loses its middle."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    if len(plain) <= MAX_LENGTH:
        return plain
    return f"{plain[: MAX_LENGTH // 2]} ... {plain[5 - MAX_LENGTH // 2 :]}"


def _shown_lines(text: str) -> str:
    """Applies `shown` to each line of a text."""
    return "\n".join(map(shown, text.split("\n")))
