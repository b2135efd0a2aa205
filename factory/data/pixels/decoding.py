"""The bytes of an image file to pixels, upright and in RGB.

Every rule about which images are accepted stands here. Anything else raises `UnreadableImage` with
the reason and the remedy, as the end of a sentence that starts with the file's name.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from PIL import ExifTags, Image

from factory import images
from factory.data.pixels import deep_colors, npy, tiffs
from factory.data.pixels.intensity import Range, to_8_bit
from factory.data.pixels.npy import Values
from factory.data.pixels.reading import DEFAULT_READING, Reading
from factory.errors import SeveralFrames, UnreadableImage
from factory.images import UInt8

UPRIGHT = 1
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_SAMPLES_PER_PIXEL = 277
_MAX_SIGNED = 2**31 - 1
_SAMPLE_FORMAT, _SIGNED = 339, 2
"""Tags of a TIFF, and a value of each."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file as it is stored: width and height in pixels, Pillow's mode and format."""

    size: tuple[int, int]
    mode: str
    format: str
    orientation: int = UPRIGHT
    """The EXIF orientation in which it is stored, 1..8; 1 also if that is to be ignored."""
    brightest: int = 255
    """The largest value of an image of 16 bits a channel, 0..255 as it is used."""
    stored: Range | None = None
    """The smallest and the largest stored value, of an image whose values were mapped to 0..255."""
    window: Range | None = None
    """The stored values that became 0 and 255; None if `stored` is."""
    has_profile: bool = False
    """True if its colours have a profile other than sRGB, which is not applied."""
    has_more_bands: bool = False
    """True if its file has bands beside grey or colours and alpha, which are not read."""


@dataclass(frozen=True)
class Picture:
    """An image as it is used, whole, and what its file says of it."""

    image: Image.Image
    """Upright, of mode RGB."""
    info: FileInfo
    data: bytes = b""
    """The bytes of its file, empty if it has none of its own."""

    def with_channels(self, channels: int) -> Image.Image:
        """The image of mode RGB (3), or L (1): the luma of its colours, or its grey as it is."""
        return self.image if channels == 3 else self._grey

    @cached_property
    def _grey(self) -> Image.Image:
        # Once for all tiles. Where red, green and blue are equal, the luma is exactly theirs.
        return self.image.convert("L")


@dataclass(frozen=True)
class _Stored:
    """The content of a file as it is stored; at least one of image and values is there."""

    info: FileInfo
    image: Image.Image | None
    """As Pillow has it; RGBA if anything in it is transparent."""
    values: Values | None
    """(H, W) or (H, W, 3), if there are values that 8 bits do not hold."""


def decode_image(data: bytes, way: Reading = DEFAULT_READING) -> Picture:
    """The image that a file holds, upright and in RGB.

    EXIF orientation is applied unless it is to be ignored, grey is replicated, transparent pixels
    show white, CMYK is converted without a colour profile. Values of more than 8 bits are mapped to
    0..255, and with an intensity all are: see `factory.data.pixels.intensity`. Raises
    UnreadableImage, also if the values are so few and so small that 8 bits would lose them.
    """
    try:
        stored = _stored(data, way)
    except SeveralFrames as error:
        told = f"{error} Or set frames: first, to use the first alone."
        raise UnreadableImage(told, error.own) from None
    info, image, values = stored.info, stored.image, stored.values
    if values is None and way.intensity is not None:
        values = np.asarray(to_rgb(image))
    if values is not None:
        mapped = to_8_bit(values, way.intensity)
        alpha = image.getchannel("A") if image is not None and image.mode == "RGBA" else None
        image = Image.fromarray(mapped.pixels)
        if alpha is not None:
            image.putalpha(alpha)
        top = int(mapped.pixels.max()) if values.dtype.itemsize > 1 else 255
        info = replace(info, brightest=top, stored=mapped.stored, window=mapped.window)
    image = turned(to_rgb(image, on_white=True), info.orientation)
    return Picture(image, info, data)


def image_size(start: bytes, way: Reading = DEFAULT_READING) -> tuple[int, int] | None:
    """Width and height of the upright image of a file, by its first bytes; None if they do not
    tell."""
    try:
        if npy.is_npy(start):
            height, width, *_ = npy.shape_of(start)
            return width, height
        (width, height), orientation = images.open_header(start)
    except UnreadableImage:
        return None
    sideways = orientation in images.SIDEWAYS and way.exif != "ignore"
    return (height, width) if sideways else (width, height)


def picture_of_array(pixels: UInt8, format: str) -> Picture:
    """The image of an array (H, W, 3) or (H, W, 1); format: where it is from, as reports count
    formats."""
    image = images.pillow_image(pixels)
    return Picture(image.convert("RGB"), FileInfo(image.size, image.mode, format))


def open_file(data: bytes) -> Image.Image:
    """The image of a file, decoded, as it is stored. Raises UnreadableImage with the remedy.

    An array that no mode of Pillow holds is refused: several channels of more than 8 bits, floats
    of 64 bits, integers beyond 32 bits.
    """
    with _replaced():
        found = _array_of(data)
        if found is not None:
            return _as_image(found)
    return _open(data)


def _open(data: bytes, first: bool = False) -> Image.Image:
    """The image of a file of Pillow's; the first one of several, if that is wanted. Raises
    UnreadableImage with the remedy."""
    with _replaced():
        image = images.open_image(data, first=first)
    if image.format == "TIFF" and image.mode in ("L", "I"):
        _check_sign(image, data)
    return image


def _check_sign(image: Image.Image, data: bytes) -> None:
    """Raises UnreadableImage for a TIFF of signed values that Pillow takes for unsigned ones, or
    the other way round."""
    is_signed = _SIGNED in np.ravel(images.tiff_tags(data).get(_SAMPLE_FORMAT, 1))
    if is_signed and image.mode == "L":
        raise UnreadableImage(
            "signed values of 8 bits, of which negative ones would be taken for bright ones. Save "
            "them as .npy, or with 16 bits."
        )
    if not is_signed and image.mode == "I" and np.asarray(image).min() < 0:
        raise UnreadableImage(
            f"values of 32 bits beyond {_MAX_SIGNED}, which would be taken for negative ones. Save "
            "them as .npy."
        )


@dataclass(frozen=True)
class _Array:
    """A file whose values are an array."""

    values: Values
    """(H, W), (H, W, 3), or of uint8 (H, W, 4)."""
    format: str
    """NPY or TIFF."""
    orientation: int = UPRIGHT


@contextmanager
def _replaced() -> Iterator[None]:
    """Adds the remedy of all damaged files to UnreadableImage."""
    try:
        yield
    except UnreadableImage as error:
        raise error.within(f"{error}. Replace or remove this file.") from None


def _array_of(data: bytes, first: bool = False) -> _Array | None:
    """The array of a file of numpy's, or of a TIFF that Pillow does not read; None of all other
    files. first: of several pages, the first. Raises UnreadableImage without a remedy."""
    if npy.is_npz(data):
        data = npy.only_array(data)
    if npy.is_npy(data):
        return _Array(npy.read(data), "NPY")
    if tiffs.is_for_pillow(data):
        return None
    values, orientation = tiffs.read(data, first)
    return _Array(values, "TIFF", orientation)


def _as_image(found: _Array) -> Image.Image:
    image = npy.to_image(found.values)
    image.format = found.format
    if found.orientation in images.TURNS:
        image.getexif()[ExifTags.Base.Orientation] = found.orientation
    return image


def orientation_of(image: Image.Image) -> int:
    """The orientation in an image's EXIF data, 1..8. Raises UnreadableImage."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except (SyntaxError, ValueError, struct.error) as error:
        raise UnreadableImage(f"damaged EXIF data ({error}). Save it again without.") from None
    return orientation if orientation in images.TURNS else UPRIGHT


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The upright image of one that is stored in this EXIF orientation."""
    turn = images.TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _stored(data: bytes, way: Reading) -> _Stored:
    """The content of any file. Raises UnreadableImage with the remedy."""
    first = way.frames == "first"
    with _replaced():
        found = _array_of(data, first)
    return _open_image(data, way, first) if found is None else _of_array(found, way)


def _of_array(found: _Array, way: Reading) -> _Stored:
    """The content of a file whose values are an array."""
    array = found.values
    if array.dtype == np.bool_ and array.ndim == 3:
        array = array * np.uint8(255)  # Pillow has no colours of one bit.
    small = array.dtype in (np.bool_, np.uint8)
    image = Image.fromarray(array) if small else None
    mode = image.mode if image else f"{array.dtype}{' RGB' if array.ndim == 3 else ''}"
    orientation = UPRIGHT if way.exif == "ignore" else found.orientation
    info = FileInfo((array.shape[1], array.shape[0]), mode, found.format, orientation)
    return _Stored(info, image, None if small else array)


def _open_image(data: bytes, way: Reading, first: bool) -> _Stored:
    """The content of a file of Pillow's."""
    image = _open(data, first)
    orientation = UPRIGHT if way.exif == "ignore" else orientation_of(image)
    info = FileInfo(
        image.size,
        image.mode,
        image.format or "unknown",
        orientation,
        has_profile=_has_profile(image),
        has_more_bands=_num_bands(image) > len(image.getbands()),
    )
    if image.mode.startswith("I") or image.mode == "F":
        if image.format == "TIFF" and white_is_zero(data):
            raise UnreadableImage(
                "grey of more than 8 bits in which 0 is white (TIFF's photometric interpretation "
                "0). Save it with 0 as black."
            )
        return _Stored(info, None, np.asarray(image))
    values = None
    if deep_colors.are_in(image, data):
        if way.intensity is not None:
            values = deep_colors.read(data)
        else:
            info = replace(info, brightest=deep_colors.brightest(image))
    if image.has_transparency_data:
        image = image.convert("RGBA")
    return _Stored(info, image, values)


def _num_bands(image: Image.Image) -> int:
    """The bands that a TIFF says it has; 0 of other files."""
    return int(getattr(image, "tag_v2", {}).get(_SAMPLES_PER_PIXEL, 0))


def white_is_zero(data: bytes) -> bool:
    """True of a TIFF in which 0 is white."""
    return images.tiff_tags(data).get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def _has_profile(image: Image.Image) -> bool:
    """True of colours with a profile that does not call itself sRGB."""
    profile = image.info.get("icc_profile") or b""
    known = any("sRGB".encode(form) in profile for form in ("ascii", "utf-16-be"))
    return image.mode in ("RGB", "RGBA") and bool(profile) and not known


def to_rgb(image: Image.Image | None, on_white: bool = False) -> Image.Image:
    """The image in RGB, without its transparency or on white. Raises UnreadableImage."""
    assert image is not None, "there are values where there is no image"
    if on_white and image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    try:
        return image.convert("RGB")
    except ValueError:
        raise UnreadableImage(
            f"colours of mode {image.mode} are not read. Save it as RGB or grey."
        ) from None
