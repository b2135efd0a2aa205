"""A picture of a certainty: expected IoU against measured IoU, and that of the most certain.

It is an SVG of up to three panels, made by `assets/certainty.svg.j2`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from factory.certainty import Certainty, Part
from factory.classes import Classes
from factory.errors import counted

_WIDTH, _HEIGHT = 280, 220
"""Those of a panel."""


@dataclass(frozen=True)
class _Dot:
    """A measured point of a curve."""

    x: float
    y: float
    title: str


@dataclass(frozen=True)
class _Panel:
    """A curve, in units of the picture from its upper left corner."""

    title: str
    dots: list[_Dot]
    x_ends: tuple[str, str]
    y_ends: tuple[str, str]
    has_diagonal: bool
    """True if expected and measured are the same along the diagonal."""
    is_curve: bool = True
    """True if the dots follow each other."""


def picture(certainty: Certainty, classes: Classes, in_page: bool) -> str:
    """The SVG; in_page: as an element of an HTML page, else as a file of its own."""
    panels = [_coverage(certainty)]
    if certainty.is_expected:
        panels = [_reliability(certainty), *panels]
    if of_classes := certainty.of_classes():
        panels.append(_classes(of_classes, classes))
    size = {"width": _WIDTH, "height": _HEIGHT}
    return _template().render(panels=panels, in_page=in_page, **size)


@cache
def _template() -> Template:
    templates = Environment(
        loader=PackageLoader("factory", "assets"), autoescape=True, undefined=StrictUndefined
    )
    return templates.get_template("certainty.svg.j2")


def _reliability(certainty: Certainty) -> _Panel:
    parts = [(counted(part.num, "image"), part) for part in certainty.reliability()]
    return _expected_and_measured("expected IoU (across) and IoU (up)", parts, is_curve=True)


def _classes(found: Mapping[int, Part], classes: Classes) -> _Panel:
    parts = [
        (f"{classes.names[i]} in {counted(part.num, 'image')}", part) for i, part in found.items()
    ]
    title = "the same of each class, over the masks that have it"
    return _expected_and_measured(title, parts, is_curve=False)


def _expected_and_measured(title: str, parts: Sequence[tuple[str, Part]], is_curve: bool) -> _Panel:
    low, high = _ends([each for _, part in parts for each in (part.expected, part.measured)])
    dots = [
        _Dot(
            _WIDTH * (part.expected - low) / (high - low),
            _HEIGHT * (high - part.measured) / (high - low),
            f"{name}: expected {part.expected:.3f}, is {part.measured:.3f}",
        )
        for name, part in parts
    ]
    ends = f"{low:.1f}", f"{high:.1f}"
    return _Panel(title, dots, ends, ends, True, is_curve)


def _coverage(certainty: Certainty) -> _Panel:
    kept = certainty.coverage()
    low, high = _ends([each.iou for each in kept])
    dots = [
        _Dot(
            _WIDTH * each.share,
            _HEIGHT * (high - each.iou) / (high - low),
            f"the most certain {each.share:.0%}: {each.iou:.3f}",
        )
        for each in kept
    ]
    title = "share of the images, the most certain (across), and their IoU (up)"
    return _Panel(title, dots, ("0 %", "100 %"), (f"{low:.1f}", f"{high:.1f}"), False)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """The tenths between which the values lie, which differ."""
    low = min(math.floor(10 * min(values)), 9)
    return low / 10, max(math.ceil(10 * max(values)), low + 1) / 10
