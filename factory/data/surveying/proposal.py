"""Classes that are proposed for masks whose values nobody has explained."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Proposal:
    """Classes, and which values or colours are which."""

    classes: tuple[str | Mapping[str, Any], ...]
    """The key `classes` of a section."""
    ignore: Mapping[str, Any]
    """The key `ignore`; empty if nothing is."""
    seen: str
    """What was found, in a few words: the values 0 and 255."""
    doubts: tuple[str, ...] = ()
    """What people should look at, each the end of a sentence and perhaps what to write instead;
    empty if there is hardly another meaning."""
    nearest_colors: bool = False
    """The key `nearest_colors`."""
    division_keys: Mapping[str, Any] = field(default_factory=dict)
    """The keys `ids_divided_by` and `smaller_ids`; empty if values are ids."""

    @property
    def keys(self) -> dict[str, Any]:
        """The keys of a section that say so."""
        keys: dict[str, Any] = {"classes": list(self.classes)}
        if self.ignore:
            keys["ignore"] = dict(self.ignore)
        if self.nearest_colors:
            keys["nearest_colors"] = True
        return {**keys, **self.division_keys}


def name_of(position: int, has_background: bool = True) -> str:
    """The name of a class that has none."""
    if has_background:
        return f"class_{position}" if position else "background"
    return f"class_{position + 1}"
