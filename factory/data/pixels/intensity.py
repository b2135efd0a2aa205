"""Stored values of any range to the 0..255 in which images are used."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from factory.alike import span_text
from factory.data.pixels.npy import Values
from factory.data.pixels.reading import Intensity
from factory.errors import UnreadableImage
from factory.images import UInt8

MIN_LEVELS = 16
"""The number of levels that must be left of an image that has more."""
PERCENTS = 0.5, 99.5
"""What becomes black and white with `intensity: percentiles`, in percent of an image's values."""
OF_16_BITS = 0.0, 65535.0
OF_FLOATS = 0.0, 1.0
_12_BITS = 2**12
_USUAL = ((-1.0, 1.0), (0.0, 255.0), OF_16_BITS)
"""Windows that programs use, the narrowest first."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Mapped:
    """An image's values as they are used, and how they were stored."""

    pixels: UInt8
    """(H, W) or (H, W, 3), 0..255."""
    stored: Range
    """The smallest and the largest stored value that is a number."""
    window: Range
    """The stored values that became 0 and 255."""


def to_8_bit(values: Values, intensity: Intensity | None) -> Mapped:
    """Maps values (H, W) or (H, W, 3) linearly to 0..255, and clips what lies outside.

    Without an intensity, integers are divided by 257 and floats multiplied by 255. What is no
    number becomes the smallest value. Raises UnreadableImage where that is no way to read the
    values, or hardly any levels would be left of them, with the intensity to set.
    """
    finite = values if values.dtype.kind != "f" else values[np.isfinite(values)]
    if not finite.size:
        raise UnreadableImage("holds no number that is finite. Remove it.")
    stored = float(finite.min()), float(finite.max())
    if intensity is None:
        window = _default_window(values, stored)
    elif intensity == "percentiles":
        window = _percentiles(finite, stored)
    else:
        window = intensity
    pixels = _scaled(values, window)
    if _may_lose_levels(pixels, stored, window):
        _check_levels(finite, pixels, window)
    return Mapped(pixels, stored, window)


def lacking_intensity(why: str, window: Range, own: str = "") -> UnreadableImage:
    """The error of an image that is not read without an intensity, with the one to set.

    own: the part of why that is of this image alone.
    """
    remedy = (
        f"Set intensity: {span_text(window)}, the values that become black and white, or "
        "intensity: percentiles."
    )
    return UnreadableImage(f"{why} {remedy}", own, window)


def _default_window(values: Values, stored: Range) -> Range:
    """The window of a source that sets no intensity. Raises UnreadableImage if there is none."""
    whole = values.dtype.kind in "iu"
    window = OF_16_BITS if whole else OF_FLOATS
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise lacking_intensity(
            f"{values.dtype} of which some are no finite numbers. With an intensity they become "
            "black.",
            stored,
        )
    if stored[0] < window[0] or stored[1] > window[1]:
        usual = (w for w in _USUAL if w[0] <= stored[0] and stored[1] <= w[1])
        own = f"of {stored[0]:g}..{stored[1]:g}"
        raise lacking_intensity(
            f"{values.dtype} {own}: only {window[0]:g}..{window[1]:g} is read without being told "
            "what is black and what is white.",
            next(usual, stored),
            own,
        )
    return window


def _percentiles(finite: Values, stored: Range) -> Range:
    low, high = (float(value) for value in np.percentile(finite, PERCENTS))
    return (low, high) if low < high else stored


def _scaled(values: Values, window: Range) -> UInt8:
    low, high = window
    if low == high:  # an image of one value
        return np.zeros(values.shape, np.uint8)
    if values.dtype in (np.uint8, np.uint16):
        every = np.arange(np.iinfo(values.dtype).max + 1, dtype=np.float64)
        return _mapped(every, low, high)[values]
    floats = values.astype(np.float32 if values.dtype == np.float32 else np.float64)
    return _mapped(np.where(np.isnan(floats), low, floats), low, high)


def _mapped(floats: npt.NDArray[np.floating], low: float, high: float) -> UInt8:
    if (high - low) * 255 > float(np.finfo(floats.dtype).max):
        # The least of all floats often stands for no data, and has no multiples.
        floats, low, high = floats.astype(np.float64) / 512, low / 512, high / 512
    pixels: UInt8 = np.rint((floats.clip(low, high) - low) * 255 / (high - low)).astype(np.uint8)
    return pixels


def _num_levels(pixels: UInt8) -> int:
    return int(np.count_nonzero(np.bincount(pixels.ravel(), minlength=256)))


def _may_lose_levels(pixels: UInt8, stored: Range, window: Range) -> bool:
    """True where it is worth the time to count the stored levels."""
    dark = window == OF_16_BITS and stored[1] < _12_BITS
    return stored[0] < stored[1] and (dark or _num_levels(pixels) < MIN_LEVELS)


def _check_levels(values: Values, pixels: UInt8, window: Range) -> None:
    """Raises UnreadableImage if none of the levels of an image lies in the window, or hardly any of
    those that do are left."""
    levels = np.unique(values)
    used = levels[(window[0] <= levels) & (levels <= window[1])]
    what = "16-bit grey" if window == OF_16_BITS else f"an image of {levels.dtype}"
    low, high = window
    if not used.size:
        own = f"{levels[0]:g}..{levels[-1]:g}"
        raise lacking_intensity(
            f"{what} whose values, {own}, all lie outside of {low:g}..{high:g}: it would be of one "
            "colour.",
            _proposal(levels),
            own,
        )
    num_left = _num_levels(pixels)
    if num_left < len(used):
        own = f"uses {used[0]:g}..{used[-1]:g}"
        raise _losing_levels(
            f"{what} that {own} of {low:g}..{high:g}: of its {len(used)} levels {num_left} would "
            "be left.",
            _proposal(used),
            window,
            own,
        )


def _losing_levels(why: str, proposal: Range, window: Range, own: str) -> UnreadableImage:
    """The error of an image of whose levels the window leaves too few."""
    if proposal != window:
        return lacking_intensity(why, proposal, own)
    remedy = (
        "Set intensity: [low, high], the range that most of its values are in, or intensity: "
        "percentiles."
    )
    return UnreadableImage(f"{why} {remedy}", own)


def _proposal(used: Values) -> Range:
    """A window that leaves enough levels: of whole bits if that does, else all that is used."""
    low, high = float(used[0]), float(used[-1])
    bits = 0.0, float(2 ** int(high).bit_length() - 1) if high >= 1 else 1.0
    if used.dtype.kind in "iu" and low >= 0 and _num_levels(_scaled(used, bits)) >= MIN_LEVELS:
        return bits
    return low, high
