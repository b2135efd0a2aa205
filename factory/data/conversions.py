"""What was done to images that are not stored as they are used, in sentences."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set

from factory.data.pixels import decoding
from factory.data.pixels.decoding import FileInfo
from factory.data.pixels.intensity import OF_16_BITS, OF_FLOATS, Range
from factory.data.pixels.reading import Fit
from factory.errors import counted

_FAR = 4
"""A range of values is far larger than what is kept of it if it is so many times as wide."""
_DARK = 128
"""An image is dark below this value: the lower 14 of 16 bits come to 64, the lower 15 to 127."""
CONVERSIONS = {
    "1": "grey is replicated to RGB",
    "L": "grey is replicated to RGB",
    "LA": "grey is replicated to RGB, transparent pixels show white",
    "P": "shown in the colours of its palette, transparent ones white",
    "RGBA": "transparent pixels show white",
    "CMYK": "converted to RGB without a colour profile; check the colours",
}
"""Pillow's mode -> what is done to such images."""
_TO_GREY = "colours are converted to grey (ITU-R 601-2), as data.channels says"
CONVERSIONS_TO_GREY = {
    "LA": "transparent pixels show white",
    "RGB": _TO_GREY,
    "P": f"{_TO_GREY}, those of the palette, transparent ones white",
    "RGBA": f"{_TO_GREY}, transparent pixels show white",
    "CMYK": f"{_TO_GREY}, without a colour profile",
}
"""The same of images that are used as one channel; other grey stays as it is."""
FITS: Mapping[Fit, str] = {
    "crop": "only the centred square is used; set fit: pad, stretch or tile to use all",
    "pad": "black bars make them square, which masks ignore",
    "stretch": "their proportions are changed",
}
"""The way in which images became square -> what was done to oblong ones."""


def sentences(
    infos: Sequence[FileInfo], fit: Fit, size: int, num_enlarged: int, channels: int = 3
) -> Iterator[str]:
    """Yields what was done to modes, values, orientations and shapes.

    infos: of each image. size, channels: that they have now. num_enlarged: how many are smaller.
    """
    modes = Counter(info.mode for info in infos)
    for mode, what in (CONVERSIONS if channels == 3 else CONVERSIONS_TO_GREY).items():
        if modes[mode]:
            yield f"{counted(modes[mode], 'image')} of mode {mode}: {what}."
    if profiled := sum(info.has_profile for info in infos):
        yield (
            f"{counted(profiled, 'image')} with a colour profile other than sRGB: it is not "
            "applied, values are used as they are stored; check the colours."
        )
    if banded := sum(info.has_more_bands for info in infos):
        yield (
            f"{counted(banded, 'image')} with further bands, such as near infrared or other "
            "channels: only the first, as grey or red, green and blue, are read. To use others, "
            "save them as files of their own."
        )
    yield from _windows(infos)
    dark = [info.brightest for info in infos if info.brightest < _DARK]
    if dark:
        yield (
            f"{counted(len(dark), 'dark image')} of more than 8 bits: no value comes to more than "
            f"{max(dark)} of 255 as it is used. Set intensity: [low, high] to the values that "
            "matter."
        )
    turned = sum(info.orientation != decoding.UPRIGHT for info in infos)
    if turned:
        yield f"{counted(turned, 'image')} turned upright, as EXIF data say; see exif for masks."
    if num_enlarged:
        yield f"{counted(num_enlarged, 'image')} smaller than {size} pixels: enlarged."
    oblong = sum(width != height for width, height in (info.size for info in infos))
    if oblong and fit in FITS:
        yield f"{counted(oblong, 'oblong image')}: {FITS[fit]}."


def _windows(infos: Sequence[FileInfo]) -> Iterator[str]:
    """Sentences on the stored values of images that 8 bits do not hold, and what became of them."""
    by_mode: dict[str, list[FileInfo]] = defaultdict(list)
    for info in infos:
        if info.stored and info.window:
            by_mode[info.mode].append(info)
    for mode, alike in by_mode.items():
        stored = [info.stored for info in alike if info.stored]
        windows = {info.window for info in alike if info.window}
        low, high = min(lows for lows, _ in stored), max(highs for _, highs in stored)
        hold = counted(len(alike), f"image of mode {mode} holds", f"images of mode {mode} hold")
        beyond = _beyond(alike) if len(alike) > len(windows) == 1 else ""
        yield (f"{hold} values of {low:g}..{high:g}: {_what_was_done(windows)}.{beyond}")


def _beyond(alike: Sequence[FileInfo]) -> str:
    """A sentence on images of which most of the range lies beyond what an intensity keeps; begins
    with a space, or is empty."""
    far = [
        info.stored
        for info in alike
        if info.stored
        and info.window
        and info.stored[1] - info.stored[0] > _FAR * (info.window[1] - info.window[0])
    ]
    if not far:
        return ""
    low, high = min(low for low, _ in far), max(high for _, high in far)
    hold = counted(len(far), "of them holds", "of them hold")
    return (
        f" {hold} values far outside, {low:g}..{high:g}, which become black or white: if these are "
        "no single bright pixels, set intensity to more values, or to percentiles."
    )


def _what_was_done(windows: Set[Range]) -> str:
    if windows == {OF_16_BITS}:
        return "divided by 257; set intensity if they are too dark"
    if windows == {OF_FLOATS}:
        return "multiplied by 255"
    if len(windows) == 1:
        ((low, high),) = windows
        return f"{low:g}..{high:g} are mapped to 0..255, as intensity says"
    lows, highs = (
        [f"{bound:g}" for bound in sorted(bounds)] for bounds in zip(*windows, strict=True)
    )
    return (
        f"each from a black of {lows[0]} to {lows[-1]} to a white of {highs[0]} to {highs[-1]}, as "
        "intensity says"
    )
