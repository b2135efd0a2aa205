"""The bytes of a mask file to class ids, and these upright and in register with their image.

Every rule about which masks are accepted stands here. Anything else raises `UnreadableImage` with
the reason and the remedy, as the end of a sentence that starts with the file's name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from factory.classes import IGNORE_ID, Color
from factory.data.classes import class_lookup, rule_yaml
from factory.data.classes.class_lookup import ClassIds, Value
from factory.data.classes.class_rules import ClassRules
from factory.data.masks import mask_values, wide_values
from factory.data.masks.mask_values import MASK_REMEDY
from factory.data.pixels import coverage, deep_colors
from factory.data.pixels.decoding import (
    UPRIGHT,
    FileInfo,
    Picture,
    open_file,
    orientation_of,
    turned,
    white_is_zero,
)
from factory.data.pixels.reading import Exif
from factory.errors import UnreadableImage
from factory.images import UInt8

DRAWN = "drawn"
"""The format of masks that are drawn of shapes."""
_BLACK = (0, 0, 0)
_STEP_OF_16_BITS = 257
"""A value of 8 bits is so many times as large in 16."""
_MIN_LOSSY, _HALF = 32, 127
"""Black that was saved with loss is darker than this."""


@dataclass(frozen=True)
class Mask:
    """A mask as it is used, whole, and what its file says of it."""

    ids: Image.Image
    """As it is stored, of mode L, value = class id, 255 = ignore."""
    values: Mapping[int, int]
    """The values that the file has, with the number of their pixels; empty where colours are
    read."""
    uncovered: Mapping[Value, int]
    """The same of values, or colours, that no rule covers: their pixels are 255 in `ids`."""
    colors: Mapping[int, Color]
    """The colours of these values in the palette of the file; empty if its colours are read, and
    without a palette."""
    info: FileInfo
    data: bytes = b""
    """The bytes of its file, empty if it has none of its own."""
    is_inverted: bool = False
    """True if its file stores white as 0, and is read as it is shown."""
    is_scaled: bool = False
    """True if its shapes were drawn for another size of the image, and are scaled to it."""
    has_fractions: bool = False
    """True if its file holds fractions; `values` has the whole numbers below them."""
    num_missing: int = 0
    """The number of its pixels that are no numbers (NaN), and ignored."""
    is_transparent: bool = False
    """True if pixels of its file are transparent, which are read as black."""
    nearest: Mapping[Value, int] = field(default_factory=dict)
    """The number of pixels of each colour that is of the class of the nearest one."""


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """The facts known of a mask beside its pixels."""

    url: str
    mode: str
    """Pillow's mode of its file."""
    values: Mapping[int, int]
    """Its values, with the number of their pixels; empty where colours are read."""
    uncovered: Mapping[Value, int]
    """Values, or colours, that no rule covers, with the number of their pixels."""
    colors: Mapping[int, Color]
    """The colours of its values in its palette; empty without one, and if colours are read."""
    is_inverted: bool = False
    """True if its file stores white as 0, and is read as it is shown."""
    num_missing: int = 0
    """The number of its pixels that are no numbers, and ignored."""
    is_transparent: bool = False
    """True if pixels of its file are transparent, which are read as black."""
    num_nearest: int = 0
    """The number of its pixels whose colour is of the class of the nearest one."""
    num_pixels: int = 0


def decode_mask(data: bytes, rules: ClassRules) -> Mask:
    """The mask that a file holds, as it is stored, its values made class ids by the rules.

    Reads every file whose values are exact: grey of 1 to 16 bits, indices of palettes, colours of
    equal channels, and where the rules name colours those of all of these. Files whose compression
    changes values are read where all rules are thresholds or a colour is that of the nearest, and
    fractions where some are thresholds. Raises UnreadableImage for all else, and for palettes that
    number colours rather than classes.
    """
    image = open_file(data)
    lossy = mask_values.is_lossy(image, data)
    are_far = rules.only_thresholds and rules.thresholds[0][0] >= _MIN_LOSSY
    if lossy and not (are_far or rules.nearest_colors):
        raise UnreadableImage(_why_not_lossy(image, rules))
    if lossy and not rules.nearest_colors:
        read = class_lookup.ids_of_values(rules, mask_values.blurred_values(image))
    elif deep_colors.are_in(image, data) and not mask_values.is_transparent(image):
        read = _ids_of_deep_colors(deep_colors.read(data), rules)
    else:
        read = _exact_ids(image, mask_values.num_bits(image, data), rules)
    used: dict[int, Color] = {}
    if image.mode == "P" and not rules.by_color:
        colors = _colors(image.getpalette() or [])
        used = {i: colors[i] for i in read.values if i in colors}
        _check_palette(colors.get(0), used, rules)
    info = FileInfo(image.size, image.mode, image.format or "unknown", orientation_of(image))
    return replace(
        _mask(read, used, info, data),
        is_inverted=_is_inverted(image, data, rules),
        is_transparent=mask_values.is_transparent(image),
    )


def _is_inverted(image: Image.Image, data: bytes, rules: ClassRules) -> bool:
    """True if white is stored as 0, and read as it is shown."""
    if image.mode == "P":
        white = (image.getpalette() or [])[:3] == [255, 255, 255]
        return white and rules.only_thresholds
    is_grey = image.format == "TIFF" and image.mode in ("1", "L")
    return is_grey and white_is_zero(data)


def mask_of_array(values: npt.NDArray[np.integer[Any]], rules: ClassRules, format: str) -> Mask:
    """The mask of an array: (H, W) values 0..65535, or (H, W, 3) colours 0..255.

    format: where it is from, as reports count formats.
    """
    height, width = values.shape[:2]
    info = FileInfo((width, height), "L" if values.ndim == 2 else "RGB", format)
    first, *others = np.moveaxis(np.atleast_3d(values), -1, 0)
    if rules.by_color:
        colors = class_lookup.packed(first, *(others or (first, first)))
        return _mask(class_lookup.ids_of_colors(rules, colors), {}, info)
    if all(np.array_equal(first, other) for other in others):
        return _mask(class_lookup.ids_of_values(rules, first), {}, info)
    return _mask(class_lookup.no_ids_of_colors(class_lookup.packed(first, *others)), {}, info)


def _ids_of_deep_colors(colors: npt.NDArray[np.uint16], rules: ClassRules) -> ClassIds:
    """The class ids of colours (H, W, 3) of 16 bits: of grey if all channels are equal, else of the
    colours in 8 bits. Raises UnreadableImage."""
    red, green, blue = np.moveaxis(colors, -1, 0)
    are_grey = np.array_equal(red, green) and np.array_equal(green, blue)
    if are_grey and not rules.by_color:
        return wide_values.class_ids(red, rules)
    in_8_bits = colors if colors.max() <= IGNORE_ID else colors // _STEP_OF_16_BITS
    packed = class_lookup.packed(*np.moveaxis(in_8_bits.astype(np.uint8), -1, 0))
    if rules.by_color:
        return class_lookup.ids_of_colors(rules, packed)
    return class_lookup.no_ids_of_colors(packed)


def _exact_ids(image: Image.Image, num_bits: int, rules: ClassRules) -> ClassIds:
    """The class ids of an image whose values are exact. Raises UnreadableImage."""
    if rules.by_color:
        return class_lookup.ids_of_colors(rules, mask_values.packed_colors(image, num_bits))
    if mask_values.is_wide(image):
        return wide_values.class_ids(np.asarray(image), rules)
    values = mask_values.exact_values(image, num_bits, rules)
    if values is None:
        return class_lookup.no_ids_of_colors(mask_values.packed_colors(image, num_bits))
    if image.mode == "1" and rules.white_is_255:
        values = values * np.uint8(255)
    if image.mode == "P" and rules.only_thresholds:
        values = mask_values.brightness(image, values)
    return class_lookup.ids_of_values(rules, values)


def _mask(read: ClassIds, colors: Mapping[int, Color], info: FileInfo, data: bytes = b"") -> Mask:
    return Mask(
        ids=Image.fromarray(read.ids),
        values=read.values,
        uncovered=read.uncovered,
        colors=colors,
        info=info,
        data=data,
        has_fractions=read.has_fractions,
        num_missing=read.num_missing,
        nearest=read.nearest,
    )


def _why_not_lossy(image: Image.Image, rules: ClassRules) -> str:
    """What is wrong with a mask whose compression changes values, and the rule that reads it."""
    form = image.format or ""
    if rules.by_color:
        return f"a mask must be exact, and {form} blurs its values. {_advice_on_blurred(rules)}"
    brightest = int(np.asarray(image.convert("L")).max())
    if brightest <= _HALF:
        return (
            f"a mask must be exact, and {form} blurs its values, of which none is above "
            f"{brightest}, so that they cannot be told apart. Save it anew from what it was made "
            "of, as PNG."
        )
    key = rule_yaml.with_thresholds(rules.classes.names, 255)
    return (
        f"a mask must be exact, and {form} blurs its values. {MASK_REMEDY} Or let every class be "
        f"what is above a value that is not low: `{key}`."
    )


def _advice_on_blurred(rules: ClassRules) -> str:
    """What to do with masks whose colours, by which they are read, compression has changed."""
    if rules.class_of_other_colors != IGNORE_ID:
        return (
            "Where a class has `colors: others`, each blurred colour would be of that class. Save "
            "masks anew from what they were made of, as PNG."
        )
    return (
        "Save masks anew from what they were made of, as PNG. Or set `nearest_colors: true`, by "
        "which each colour is of the class of the nearest one that is named."
    )


def orientation_beside(mask: Mask, picture: Picture, exif: Exif) -> int:
    """The EXIF orientation in which a mask is stored, found from its own and that of its image.

    Raises UnreadableImage if the two differ though the mask fits both as it is stored and as its
    own says: nothing tells whether it lies as the image is stored or is upright.
    """
    own, of_image = mask.info.orientation, picture.info.orientation
    if exif != "apply":
        return of_image if exif == "apply_to_masks" else UPRIGHT
    if own == of_image or not _fits(mask.info.size, picture.info.size):
        return own
    if own == UPRIGHT and not _fits(mask.info.size, picture.image.size):
        return of_image
    raise UnreadableImage(
        f"{_orientations(mask, picture)}, and as they are stored they fit, too. Set exif: "
        "apply_to_masks if the masks lie as their images are stored, exif: apply_to_images if they "
        "are upright as they are stored."
    )


def match_size(mask: Mask, picture: Picture, orientation: int) -> tuple[UInt8, bool]:
    """(H, W) the upright ids at the upright image's size, of a mask that is stored in this
    orientation; and whether it was made smaller.

    Masks may be a whole factor smaller or larger. Raises UnreadableImage for other sizes.
    """
    ids, image = turned(mask.ids, orientation), picture.image
    if not _fits(ids.size, image.size):
        alike = mask.info.orientation == picture.info.orientation
        if mask.info.format == DRAWN:
            sizes = (
                f"{ids.width}x{ids.height} pixels, and the image has {image.width}x{image.height}"
            )
            raise UnreadableImage(
                f"its shapes were drawn for an image of {sizes}, which are other proportions. Use "
                "the image that they were drawn for.",
                sizes,
            )
        sizes = f"{ids.width}x{ids.height} pixels, its image {image.width}x{image.height}"
        raise UnreadableImage(
            f"the mask has {sizes}: they must be equal, or one 2, 3, ... times as large as the "
            "other in both directions. "
            + ("" if alike else f"Both are turned upright: {_orientations(mask, picture)}. ")
            + "Save the mask at its image's size, without smoothing.",
            sizes,
        )
    if ids.size == image.size:
        return np.asarray(ids), False
    if ids.width > image.width:
        return coverage.scale(np.asarray(ids), image.width, image.height).ids, True
    return np.asarray(ids.resize(image.size, Image.Resampling.NEAREST)), False


def _orientations(mask: Mask, picture: Picture) -> str:
    return (
        f"the EXIF orientation of its image is {picture.info.orientation}, its own "
        f"{mask.info.orientation} (1 is upright)"
    )


def _fits(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """True if both sizes are equal, or one is a whole factor larger in both directions."""
    small, large = sorted((one, other))
    factor = large[0] // small[0]
    return large == (small[0] * factor, small[1] * factor)


def _colors(palette: Sequence[int]) -> dict[int, Color]:
    """The RGB colour of each index of a palette."""
    triples = zip(palette[::3], palette[1::3], palette[2::3], strict=False)
    return dict(enumerate(triples))


def _check_palette(first: Color | None, used: Mapping[int, Color], rules: ClassRules) -> None:
    """Raises UnreadableImage if black is a class other than 0: then indices number colours."""
    black = [i for i, color in used.items() if color == _BLACK and i != IGNORE_ID]
    if black and first != _BLACK:
        raise UnreadableImage(
            f"its palette has {first} at index 0 and black at index {black[0]}, so it seems to "
            "number colours, not classes; what is read is the index. Renumber the mask by class "
            f"ids. {MASK_REMEDY} Or name the colour of each class: "
            f"`{rule_yaml.with_colors(rules.classes.names)}`."
        )
