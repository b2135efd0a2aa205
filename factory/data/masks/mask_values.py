"""The values and the colours that the pixels of a mask's file have, exactly as they were saved.

Whoever draws masks saves class ids as grey, as colours, as indices of a palette, in 1 to 8 bits:
all of them are whole numbers, or colours. `factory.data.masks.wide_values` reads those of more
bits. Shapes: H height, W width.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from factory.data.classes.class_lookup import Packed, Values, packed
from factory.data.classes.class_rules import ClassRules
from factory.data.pixels.deep_colors import DEPTH_AT
from factory.errors import UnreadableImage
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


def is_wide(image: Image.Image) -> bool:
    """True if a file holds more than 8 bits a pixel, in one channel."""
    return image.mode == "F" or image.mode.startswith("I")


def is_transparent(image: Image.Image) -> bool:
    """True if pixels of grey or colours are transparent."""
    return image.mode in ("LA", "RGBA") and sum(image.getchannel("A").histogram()[:_OPAQUE]) > 0


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
    """(H, W) the values of a mask of 8 bits or fewer; None of one in colours.

    Colours of three equal channels are grey, and transparent pixels are 0. Raises UnreadableImage
    where no exact value can be read: for other modes, and for pixels that are half transparent
    where not all rules are thresholds.
    """
    if image.mode in ("1", "P"):
        return np.asarray(image).astype(np.uint8)
    if image.mode == "L":
        return np.asarray(image) // np.uint8(_SPREAD.get(num_bits, 1))
    first, *others = _channels(image, num_bits, may_be_soft=rules.only_thresholds)
    return first if all(np.array_equal(first, other) for other in others) else None


def blurred_values(image: Image.Image) -> Values:
    """(H, W) the grey of a mask that was saved with loss. Raises UnreadableImage for colours."""
    first, *others = (channel.astype(np.int16) for channel in _channels(image, num_bits=8))
    if any(np.abs(first - other).max() > _MAX_TINT for other in others):
        raise UnreadableImage(
            f"a mask in colours that {image.format or 'compression'} has blurred: none of them is "
            "exact. Name the colors of each class, and set `nearest_colors: true`."
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


def _channels(image: Image.Image, num_bits: int, may_be_soft: bool = False) -> list[UInt8]:
    """(H, W) each channel of grey or colours of 8 bits, in which transparent pixels are black.

    may_be_soft: whether pixels that are half transparent may be half as bright. Raises
    UnreadableImage for these elsewhere, and for other modes.
    """
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise UnreadableImage(f"a mask of mode {image.mode} has no class ids. {MASK_REMEDY}")
    if num_bits == 16:
        raise UnreadableImage(
            f"a mask of mode {image.mode} in 16 bits a channel has no class ids. {MASK_REMEDY}"
        )
    channels = [np.asarray(channel) for channel in image.split()]
    if not image.mode.endswith("A"):
        return channels
    *channels, alpha = channels
    return channels if (alpha == _OPAQUE).all() else _on_black(channels, alpha, may_be_soft)


def _on_black(channels: Sequence[UInt8], alpha: UInt8, may_be_soft: bool) -> list[UInt8]:
    """The channels with black where nothing is shown; where all that is shown is black, the alpha
    itself. Raises UnreadableImage where that would be ambiguous."""
    is_shown = alpha > 0
    is_black = np.all([channel == 0 for channel in channels], axis=0)
    if not is_shown.any() and any(channel.min() != channel.max() for channel in channels):
        raise UnreadableImage(
            f"all of it is transparent, and it has values all the same. Save it without alpha. "
            f"{MASK_REMEDY}"
        )
    is_stencil = is_shown.any() and is_black[is_shown].all()
    if not is_stencil and (is_black & is_shown).any():
        raise UnreadableImage(
            "black is shown in it and other colours are, too, and what is transparent would be "
            f"black as well. {MASK_REMEDY}"
        )
    if not may_be_soft and (is_shown & (alpha < _OPAQUE)).any():
        raise UnreadableImage(
            "pixels of it are half transparent, and a mask must be exact. Let every class be what "
            f"is `above` a value, such as 127. {MASK_REMEDY}"
        )
    if is_stencil:
        return [alpha for _ in channels]
    return [(channel * (alpha / _OPAQUE)).round().astype(np.uint8) for channel in channels]


def _chunks(data: bytes) -> Iterator[bytes]:
    """The kinds of the chunks of a WebP file, in their order."""
    at = 12
    while at + 8 <= len(data):
        yield data[at : at + 4]
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
