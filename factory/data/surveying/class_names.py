"""The names of classes that a file tells, given to classes that are proposed for masks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from factory.classes import Color
from factory.data.surveying.proposal import Proposal
from factory.errors import some


def named(
    found: Proposal, names: Sequence[str], of_colors: Mapping[Color, str] | None = None
) -> Proposal:
    """The proposal with the names of the classes, as far as they are known.

    names: in the order of the values, which are dealt out if they are as many; colours have no
    order. of_colors: the name of each colour.
    """
    if any("colors" in entry for entry in found.classes if not isinstance(entry, str)):
        return _of_colors(found, names, of_colors or {})
    if not names:
        return found
    if len(names) != len(found.classes):
        doubt = f"whether {len(names)} names of classes go with {found.seen}"
        return replace(found, doubts=(*found.doubts, doubt))
    plain = [{"name": entry} if isinstance(entry, str) else dict(entry) for entry in found.classes]
    entries = [{**entry, "name": name} for entry, name in zip(plain, names, strict=True)]
    short = tuple(entry["name"] if len(entry) == 1 else entry for entry in entries)
    return replace(found, classes=short)


def _of_colors(found: Proposal, names: Sequence[str], of_colors: Mapping[Color, str]) -> Proposal:
    """The proposal with the names of those colours of which they are known."""
    entries = [entry for entry in found.classes if not isinstance(entry, str)]
    new = [_renamed(entry, of_colors) for entry in entries]
    if len({entry["name"] for entry in new}) < len(new):
        new = [dict(entry) for entry in entries]
    given = {entry["name"] for entry in new}
    rest = [name for name in (*of_colors.values(), *names) if name not in given]
    if not rest or (new == entries and not names and not of_colors):
        return replace(found, classes=tuple(new))
    doubt = f"which colour belongs to {some(rest)}: what names the classes does not say it"
    return replace(found, classes=tuple(new), doubts=(*found.doubts, doubt))


def _renamed(entry: Mapping[str, Any], of_colors: Mapping[Color, str]) -> dict[str, Any]:
    colors = entry["colors"] if isinstance(entry["colors"], list) else []
    known = [of_colors[color] for c in colors if (color := (c[0], c[1], c[2])) in of_colors]
    return {**entry, "name": known[0]} if known else dict(entry)
