"""Histograms as drawings: bars of pages."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NUM_BINS = 32


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram: where it is drawn, its bounds and how many values are between them."""

    x: float
    y: float
    width: float
    height: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Histogram:
    """A drawing of width x height units over values from 0 to top."""

    width: int
    height: int
    top: float
    bars: list[Bar]


def histogram(values: Sequence[float], top: float) -> Histogram:
    """Draws NUM_BINS bars over 0..top, and leaves out the empty ones."""
    width, height = 640, 160
    top = top if top > 0 else 1.0
    counts, edges = np.histogram(np.clip(values, 0.0, top), bins=NUM_BINS, range=(0.0, top))
    step, tallest = width / NUM_BINS, max(int(counts.max()), 1)
    heights = [max(3.0, (height - 8) * count / tallest) for count in counts]
    bars = [
        Bar(i * step + 1, height - heights[i], step - 2, heights[i], low, high, int(count))
        for i, (count, low, high) in enumerate(zip(counts, edges, edges[1:], strict=False))
        if count
    ]
    return Histogram(width, height, top, bars)
