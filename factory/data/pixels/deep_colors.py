"""Colours of 16 bits a channel, of which Pillow decodes the upper 8 bits alone.

The lower bits come from decoding the file a second time, as if its bytes were in the other order.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from factory import images
from factory.data.pixels.intensity import MIN_LEVELS, lacking_intensity
from factory.errors import UnreadableImage

DEPTH_AT = 24
"""The offset of the byte in a PNG that holds its bits a channel."""
_COLOR_TYPE_AT, _GREY_WITH_ALPHA = 25, 4
"""The offset of the byte in a PNG that holds its type of colours, and one of these types."""
_BITS_PER_SAMPLE = 258
"""The tag of a TIFF of the bits of a channel."""


def are_in(image: Image.Image, data: bytes) -> bool:
    """True of a PNG or TIFF of several channels, each of 16 bits; image: as it was decoded."""
    if image.mode not in ("RGB", "RGBA", "RGBa", "CMYK"):
        return False
    if image.format == "PNG":
        return data[DEPTH_AT] == 16
    if image.format != "TIFF":
        return False
    return set(np.ravel(images.tiff_tags(data).get(_BITS_PER_SAMPLE, 0))) == {16}


def read(data: bytes) -> npt.NDArray[np.uint16]:
    """(H, W, 3), 0..65535, of a file that they `are_in`, as it is stored: of its first frame.

    Raises UnreadableImage.
    """
    upper = images.open_image(data, first=True)
    lower = images.open_image(data, lower_bits=True, first=True)
    if upper.format == "PNG" and data[_COLOR_TYPE_AT] == _GREY_WITH_ALPHA:
        lower = Image.merge("RGB", [lower.getchannel(1)] * 3)
    if upper.mode not in ("RGB", "RGBA"):
        raise UnreadableImage(
            f"16-bit colours of mode {upper.mode}, of which intensity cannot choose the values. "
            "Save them as RGB."
        )
    high, low = (np.asarray(half)[..., :3].astype(np.uint16) for half in (upper, lower))
    values: npt.NDArray[np.uint16] = high * 256 + low
    return values


def brightest(image: Image.Image) -> int:
    """The largest of the upper 8 bits of the colours, 0..255.

    Raises UnreadableImage if there is hardly anything in them.
    """
    colors = image.convert("RGB") if image.mode != "LA" else image.getchannel("L")
    top = int(np.max(colors.getextrema()))
    if top < MIN_LEVELS:
        below = (top + 1) * 256
        own = f"below {below}"
        raise lacking_intensity(
            f"16-bit colours that all lie {own} of 65535: of their levels at most {top + 1} would "
            "be left.",
            (0, below - 1),
            own,
        )
    return top
