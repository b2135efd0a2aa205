"""The values and the colours that the pixels of a mask's file have, exactly as they were saved.

Whoever draws masks saves class ids as grey, as colours, as indices of a palette, in 1 to 16 bits:
all of them are whole numbers, or colours. Shapes: H height, W width.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from factory.data.classes import rule_yaml
from factory.data.classes.class_lookup import Packed, Values, packed
from factory.data.classes.class_rules import MAX_VALUE, ClassRules
from factory.data.pixels.deep_colors import DEPTH_AT
from factory.errors import UnreadableImage, some
from factory.images import UInt8

MASK_REMEDY = "Save masks as 8-bit grey (L) or palette PNG, value = class id."
_LOSSY = ("JPEG", "MPO", "JPEG2000", "AVIF")
_SPREAD = {2: 85, 4: 17}
"""Bits of a grey value -> what Pillow multiplies the value by, so that it fills 0..255."""
_BITS_PER_SAMPLE = 258
"""The TIFF tag of the bits of a value."""
_MAX_TINT = 16
"""Channels of grey that was saved with loss differ by less."""
_OPAQUE = 255
_MAX_IGNORED = 8
"""The most values that a message proposes to ignore."""


def is_lossy(image: Image.Image, data: bytes) -> bool:
    """True if a file's compression changes values: JPEG, most WebP, TIFF with JPEG in it.

    Of JPEG 2000 and AVIF nothing tells, so that their values are taken for changed, too.
    """
    if image.format == "WEBP":
        return not any(kind == b"VP8L" for kind in _chunks(data))
    return image.format in _LOSSY or image.info.get("compression") == "jpeg"


def num_bits(image: Image.Image, data: bytes) -> int:
    """The bits in which a file holds a value; 8 where its format has no other ones for grey."""
    if image.format == "PNG":
        return data[DEPTH_AT]
    tags = getattr(image, "tag_v2", {})
    return int(tags.get(_BITS_PER_SAMPLE, (8,))[0])


def exact_values(image: Image.Image, num_bits: int, rules: ClassRules) -> Values | None:
    """(H, W) the values of a mask, 0..65535; None of one in colours.

    Colours of three equal channels are grey. Values outside that range are brought into it where
    the rules say what they are. Raises UnreadableImage where no exact value can be read: for other
    modes, partly transparent pixels, fractions, and values outside the range elsewhere.
    """
    if image.mode in ("1", "P"):
        return np.asarray(image).astype(np.uint8)
    if image.mode == "L":
        return np.asarray(image) // np.uint8(_SPREAD.get(num_bits, 1))
    if image.mode == "F" or image.mode.startswith("I"):
        return _whole_numbers(np.asarray(image), rules)
    first, *others = _channels(image, num_bits)
    return first if all(np.array_equal(first, other) for other in others) else None


def blurred_values(image: Image.Image) -> Values:
    """(H, W) the grey of a mask that was saved with loss. Raises UnreadableImage for colours."""
    first, *others = (channel.astype(np.int16) for channel in _channels(image, num_bits=8))
    if any(np.abs(first - other).max() > _MAX_TINT for other in others):
        raise UnreadableImage(
            f"a mask in colours that {image.format or 'compression'} has blurred: none of them is "
            "exact. Save masks as PNG."
        )
    return np.asarray(image.convert("L"))


def brightness(image: Image.Image, indices: Values) -> Values:
    """(H, W) the greys of a palette whose used colours are all grey, else the indices."""
    red, green, blue = _palette(image).T
    used = np.unique(indices)
    grey = np.array_equal(red[used], green[used]) and np.array_equal(green[used], blue[used])
    return red[indices] if grey else indices


def packed_colors(image: Image.Image, num_bits: int) -> Packed:
    """(H, W) the colours of a mask: those of its palette, and grey as three equal channels.

    Raises UnreadableImage as `exact_values` does, and for grey of more than 8 bits.
    """
    if image.mode == "P":
        return packed(*np.moveaxis(_palette(image)[np.asarray(image)], -1, 0))
    channels = _channels(image.convert("L") if image.mode == "1" else image, num_bits)
    return packed(*(channels if len(channels) == 3 else channels * 3))


def _palette(image: Image.Image) -> UInt8:
    """(256, 3) the colours of a palette; those that it lacks are black, as Pillow shows them."""
    palette = np.zeros((256, 3), np.uint8)
    triples = np.reshape(image.getpalette() or [], (-1, 3))
    palette[: len(triples)] = triples
    return palette


def _channels(image: Image.Image, num_bits: int) -> list[UInt8]:
    """(H, W) each channel of grey or colours of 8 bits, without alpha.

    Raises UnreadableImage for other modes, and where pixels are transparent.
    """
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise UnreadableImage(f"a mask of mode {image.mode} has no class ids. {MASK_REMEDY}")
    if num_bits == 16:
        raise UnreadableImage(
            f"a mask of mode {image.mode} in 16 bits a channel has no class ids. {MASK_REMEDY}"
        )
    channels = [np.asarray(channel) for channel in image.split()]
    if image.mode.endswith("A") and (channels.pop() != _OPAQUE).any():
        raise UnreadableImage(
            f"a mask of mode {image.mode} has no class ids where it is transparent. {MASK_REMEDY}"
        )
    return channels


def _whole_numbers(values: npt.NDArray[Any], rules: ClassRules) -> Values:
    """(H, W) the values of more than 8 bits.

    Negative ones that the rules name are what signed numbers of 16 bits are without their sign;
    those above 65535 are 65535 where all that is above a threshold is one class. Raises
    UnreadableImage for fractions and others.
    """
    low, high = values.min(), values.max()
    found = f"a mask whose values lie in {low:g}..{high:g}"
    if (values % 1).any():
        raise UnreadableImage(
            f"{found}: class ids are whole numbers from 0 to {MAX_VALUE}. {MASK_REMEDY}"
        )
    if high > MAX_VALUE and not rules.has_thresholds:
        raise UnreadableImage(
            f"{found}: class ids are whole numbers from 0 to {MAX_VALUE}. {MASK_REMEDY} If they "
            "number objects of one class, let that be what is `above: 0`."
        )
    if low < 0:
        names = {value for value in rules.class_of_id if value < 0}
        others = np.unique(values[values < 0]).astype(np.int64).tolist()
        if unnamed := [value for value in others if value not in names]:
            raise UnreadableImage(
                f"{found}: of no class are {some(list(map(str, unnamed)))}. If that means not "
                f"labelled, set `{_ignoring(unnamed, rules)}`; of a class, add it to its ids."
            )
        if high > MAX_VALUE + min(names):
            raise UnreadableImage(f"{found}, which are too far apart. {MASK_REMEDY}")
    whole: Values = np.minimum(values, MAX_VALUE).astype(np.int64).astype(np.uint16)
    return whole


def _ignoring(values: Sequence[int], rules: ClassRules) -> str:
    """The key that ignores values, and what is ignored already."""
    known = [value for value in rules.ignored.ids if value not in values]
    return rule_yaml.ignore_key([*known, *values[:_MAX_IGNORED]])


def _chunks(data: bytes) -> Iterator[bytes]:
    """The kinds of the chunks of a WebP file, in their order."""
    at = 12
    while at + 8 <= len(data):
        yield data[at : at + 4]
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
