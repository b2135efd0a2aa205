"""Whether the image of a file can be decoded, mostly for less than it costs to decode it.

A PNG has checksums. A JPEG is decoded to an eighth of its size: all of its bits are read, as any
damage that stops decoding lies among these, and few pixels are made of them.
"""

import io
import struct
import zlib

from PIL import Image

from factory import images
from factory.data.pixels import decoding, deep_colors
from factory.data.pixels.reading import DEFAULT_READING, Reading

_MODES = ("L", "P", "RGB", "RGBA", "CMYK")
"""The modes of images of 8 bits a channel."""
_PNG = b"\x89PNG\r\n\x1a\n"


def check_image(data: bytes, way: Reading = DEFAULT_READING) -> None:
    """Raises UnreadableImage, as `decode_image` does, where a file's image cannot be decoded.

    Only what a PNG holds in spite of right checksums goes unnoticed.
    """
    first = way.frames == "first"
    if way.intensity is not None or not _is_whole(data) or not _is_plain(data, first):
        decoding.decode_image(data, way)


def _is_whole(data: bytes) -> bool:
    """True of a file that was not cut off; False also where its structure does not tell."""
    if data.startswith(_PNG):
        return _is_whole_png(data)
    return data.startswith(b"\xff\xd8\xff") and data.rstrip(b"\0").endswith(b"\xff\xd9")


def _is_whole_png(data: bytes) -> bool:
    """True if all chunks of a PNG of 8 bits a channel, up to its end, have their checksums."""
    if len(data) <= deep_colors.DEPTH_AT or data[deep_colors.DEPTH_AT] > 8:
        return False
    view, place, kind = memoryview(data), len(_PNG), b""
    while place + 12 <= len(data) and kind != b"IEND":
        (length,), kind = struct.unpack_from(">I", data, place), data[place + 4 : place + 8]
        end = place + 8 + length
        checksum = zlib.crc32(view[place + 4 : end]).to_bytes(4, "big")
        # Pillow finds an orientation only when it decodes.
        if data[end : end + 4] != checksum or kind == b"eXIf":
            return False
        place = end + 4
    return kind == b"IEND"


def _is_plain(data: bytes, first: bool) -> bool:
    """True of a PNG whose header is that of an image that is accepted whatever it shows, and of
    such a JPEG if its pixels can be decoded.

    first: the first of several frames is wanted.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            images.check_header(image, first)
            if image.format == "JPEG":
                decoding.orientation_of(image)
                image.draft("L", (1, 1))
                image.load()
            return image.mode in _MODES
    except (Warning, *images.OF_DAMAGE):
        return False
