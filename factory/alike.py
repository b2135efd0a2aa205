"""Problems that many files have: those of one kind are told as one, which names the files."""

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile

Span = tuple[float, float]
"""The lowest and the highest of some values."""

_NUMBERS = re.compile(r"[-+]?\d[\d.,e+-]*(?:(?:, | and |x|\.\.| to )[-+]?\d[\d.,e+-]*)*")
"""Numbers, and lists and ranges of such."""
_MAX_NAMES, _MAX_LENGTH = 6, 200
"""As many others are named, in as many characters, but one at least."""


class Alike(str):
    """A problem, as a line that names whose it is: those of others may be of the same kind."""

    __slots__ = ("kind", "name", "own", "span")

    name: str
    """The file whose problem it is, or what else it is of; a part of the line."""
    own: str
    """What else is of this one alone, besides numbers, and is told of others, too; a part of the
    line, or empty."""
    kind: str
    """What is equal of all lines of one kind."""
    span: Span | None
    """The values that the line proposes as `span_text`: for several, those from the lowest of all
    to the highest are proposed."""

    def __new__(
        cls, line: str, name: str, own: str = "", kind: str = "", span: Span | None = None
    ) -> "Alike":
        made = super().__new__(cls, line)
        made.name, made.own, made.span = name, own, span
        made.kind = kind or _NUMBERS.sub("#", line.replace(name, "*", 1).replace(own, "*", 1))
        return made

    def __getnewargs__(self) -> tuple[str, str, str, str, Span | None]:  # type: ignore[override]
        # Crosses process borders whole.
        return str(self), self.name, self.own, self.kind, self.span


def of_file(url: str, why: str, own: str = "", kind: str = "", span: Span | None = None) -> Alike:
    """The problem of a file. why: what follows its url, of which own is of this file alone."""
    return Alike(f"{url}: {why}", url, own, kind, span)


def span_text(span: Span) -> str:
    """How lines propose values from a lowest to a highest one."""
    return f"[{span[0]:g}, {span[1]:g}]"


def each_kind_once(problems: Sequence[str]) -> list[str]:
    """The problems, of which those of one kind are one, in the order in which they begin."""
    kinds: dict[str, list[Alike]] = defaultdict(list)
    for problem in problems:
        if isinstance(problem, Alike):
            kinds[problem.kind].append(problem)
    told: list[str] = []
    for problem in problems:
        if not isinstance(problem, Alike):
            told.append(problem)
        elif alike := kinds.pop(problem.kind, None):
            told.append(_as_one(alike))
    return told


def _as_one(alike: Sequence[Alike]) -> str:
    """The line of the first, and the names of the others."""
    first, others = alike[0], list({one.name: one for one in alike[1:]}.values())
    line = str(first)
    spans = [one.span for one in alike if one.span]
    if first.span and spans:
        widest = min(low for low, _ in spans), max(high for _, high in spans)
        line = line.replace(span_text(first.span), span_text(widest))
    if not others:
        return line
    folders = zip(*(one.name.split("/")[:-1] for one in alike), strict=False)
    above = "/".join(same[0] for same in takewhile(lambda few: len(set(few)) == 1, folders))
    names = [_with_own(one, first, one.name.removeprefix(f"{above}/")) for one in others]
    kept = 1
    while kept < min(len(names), _MAX_NAMES) and len(", ".join(names[: kept + 1])) <= _MAX_LENGTH:
        kept += 1
    rest = f" and {len(names) - kept:,} more" if len(names) > kept else ""
    num = f"{len(names):,} others" if len(names) > 1 else "1 other"
    return f"{line} The same is true of {num}: {', '.join(names[:kept])}{rest}."


def _with_own(one: Alike, first: Alike, name: str) -> str:
    return f"{name} ({one.own})" if one.own not in ("", first.own) else name
