"""Pixels: uint8 arrays, files of images and tensors in [-1, 1].

Shapes: H height, W width, B batch.
"""

import io

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, UnidentifiedImageError

from factory.errors import UnreadableImage

UInt8 = npt.NDArray[np.uint8]

READABLE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
MAX_PIXELS = 64_000_000
_SIGNATURES = b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"BM"
"""The first bytes of files in READABLE_FORMATS."""


def to_signed(pixels: torch.Tensor) -> torch.Tensor:
    """Maps uint8 0..255 to float32 in [-1, 1], any shape."""
    return pixels.to(torch.float32) / 127.5 - 1.0


def to_uint8(x_0: torch.Tensor) -> torch.Tensor:
    """Maps floats to uint8 0..255, rounded to nearest; values outside [-1, 1] are clipped."""
    return ((x_0.float().clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)


def to_channels_last_arrays(x_0: torch.Tensor) -> UInt8:
    """Turns (B, 3, H, W) floats in [-1, 1] into a (B, H, W, 3) uint8 array."""
    array: UInt8 = to_uint8(x_0).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return array


def open_image(data: bytes) -> Image.Image:
    """Decodes an image fully. Raises UnreadableImage with the reason."""
    if not data:
        raise UnreadableImage("empty file")
    try:
        image = Image.open(io.BytesIO(data), formats=READABLE_FORMATS)
        if image.width * image.height > MAX_PIXELS:
            # Pillow only warns at this size; changing its warnings is not safe among threads.
            raise UnreadableImage(f"{image.width}x{image.height} pixels, more than {MAX_PIXELS}")
        # Cameras write MPO: a JPEG followed by further pictures, often previews.
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            raise UnreadableImage(f"an animation of {getattr(image, 'n_frames', 1)} frames")
        image.load()
    except UnidentifiedImageError:
        if data.startswith(_SIGNATURES):
            raise UnreadableImage("damaged image (in its header)") from None
        raise UnreadableImage(
            f"not a {'/'.join(READABLE_FORMATS)} image (starts with {data[:12]!r})"
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(f"more than {MAX_PIXELS} pixels") from None
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, UnreadableImage):
            raise
        raise UnreadableImage(f"damaged image ({error})") from None
    return image


def crop_and_resize(image: Image.Image, size: int, resample: Image.Resampling) -> Image.Image:
    """Crops the largest centred square and scales it to size x size."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if side == size:
        return image.crop((left, top, left + side, top + side))
    return image.resize((size, size), resample, box=(left, top, left + side, top + side))
