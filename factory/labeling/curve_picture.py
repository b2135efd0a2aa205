"""A picture of a curve: IoU over the number of labelled images, on a logarithmic axis.

It is an SVG, made by `assets/curve.svg.j2`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from factory.classes import Classes, css_color
from factory.errors import counted
from factory.labeling.curve_gain import MORE
from factory.labeling.curve_outcome import Curve

_WIDTH, _HEIGHT = 420, 260
"""Those of the field between the axes."""
_MOST_CLASSES = 12
"""The classes that have a line, those that gain most from more labels."""


@dataclass(frozen=True)
class _Dot:
    """A measured point of the mean, in units of the picture from its upper left corner."""

    x: float
    y: float
    low: float
    high: float
    """The ends of its deviation."""
    num: int
    title: str


@dataclass(frozen=True)
class _Line:
    """The line of a class."""

    points: str
    color: str
    title: str


def picture(curve: Curve, classes: Classes, in_page: bool) -> str:
    """The SVG; in_page: as an element of an HTML page, else as a file of its own."""
    field = _Field.of(curve)
    dots = [
        _Dot(
            field.x(num),
            field.y(mean),
            field.y(mean - deviation),
            field.y(mean + deviation),
            num,
            f"{counted(num, 'labelled image')}: {mean:.3f} ± {deviation:.3f}",
        )
        for num, mean, deviation in zip(curve.nums, curve.mean_iou, curve.deviation, strict=True)
    ]
    shown = _shown_classes(curve)
    return _template().render(
        dots=dots,
        lines=[_line(curve, field, name, classes) for name in shown],
        num_left_out=len([values for values in curve.iou.values() if None not in values])
        - len(shown),
        beyond=_beyond(curve, field),
        ticks=[(field.y(tick), f"{tick:.1f}") for tick in field.ticks()],
        width=_WIDTH,
        height=_HEIGHT,
        in_page=in_page,
    )


@cache
def _template() -> Template:
    templates = Environment(
        loader=PackageLoader("factory", "assets"), autoescape=True, undefined=StrictUndefined
    )
    return templates.get_template("curve.svg.j2")


@dataclass(frozen=True)
class _Field:
    """Where values lie between the axes."""

    first: int
    last: float
    low: float
    high: float

    @classmethod
    def of(cls, curve: Curve) -> "_Field":
        shown = [value for name in _shown_classes(curve) for value in curve.iou[name]]
        ends = [
            mean + sign * deviation
            for mean, deviation in zip(curve.mean_iou, curve.deviation, strict=True)
            for sign in (-1, 1)
        ]
        values = [*(value for value in shown if value is not None), *ends]
        low = max(0.0, math.floor(10 * min(values)) / 10)
        high = min(1.0, math.ceil(10 * max(values)) / 10)
        last = curve.nums[-1] + (MORE if curve.ten_more else 0)
        return cls(curve.nums[0], last, low, max(high, low + 0.1))

    def x(self, num: float) -> float:
        return _WIDTH * math.log(num / self.first) / math.log(self.last / self.first)

    def y(self, value: float) -> float:
        kept = min(max(value, self.low), self.high)
        return _HEIGHT * (self.high - kept) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Tenths, not more than some."""
        num = round(10 * (self.high - self.low))
        step = 2 if num > 5 else 1
        return [self.low + i / 10 for i in range(0, num + 1, step)]


def _shown_classes(curve: Curve) -> Sequence[str]:
    """The classes that have a line, the best first."""
    there = [name for name, values in curve.iou.items() if None not in values]
    if len(there) > _MOST_CLASSES:

        def rise(name: str) -> float:
            first, last = curve.iou[name][0], curve.iou[name][-1]
            return (last or 0.0) - (first or 0.0)

        there = sorted(there, key=rise, reverse=True)[:_MOST_CLASSES]
    return sorted(there, key=lambda name: -(curve.iou[name][-1] or 0.0))


def _line(curve: Curve, field: _Field, name: str, classes: Classes) -> _Line:
    values = curve.iou[name]
    points = " ".join(
        f"{field.x(num):.1f},{field.y(value or 0.0):.1f}"
        for num, value in zip(curve.nums, values, strict=True)
    )
    color = css_color(classes.palette[classes.names.index(name)])
    return _Line(points, color, f"{name} {values[-1] or 0.0:.3f}")


def _beyond(curve: Curve, field: _Field) -> dict[str, float] | None:
    """The line to ten more labels, where it tells more than chance."""
    gain = curve.ten_more
    if gain is None or not gain.is_told:
        return None
    num, mean = curve.nums[-1] + MORE, curve.mean_iou[-1]
    return {
        "x": field.x(num),
        "y": field.y(mean + gain.gain),
        "low": field.y(mean + gain.gain - gain.noise),
        "high": field.y(mean + gain.gain + gain.noise),
    }
