"""Claims about factory.data.masks.mask_values: masks as people save them, read exactly."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import yaml
from PIL import Image

from factory.data.classes.class_forms import Ignored, parse_rules
from factory.data.masks.mask_decoding import Mask, MaskFacts, decode_mask
from factory.data.surveying.mask_checks import check_masks
from factory.errors import Problems, UnreadableImage
from factory.images import UInt8
from tests.data.inputs import encoded, ids

IDS = ids([0, 1, 2, 2], [1, 0, 0, 2], [2, 2, 1, 1])
NAMES = ["ground", "disc", "bar"]
COLORS = np.array([(10, 20, 30), (200, 0, 0), (0, 0, 200)], np.uint8)
BY_COLOR = [
    {"name": name, "colors": [color]} for name, color in zip(NAMES, COLORS.tolist(), strict=True)
]


def decoded(data: bytes, classes: object = NAMES) -> Mask:
    return decode_mask(data, parse_rules(classes, "classes"))


def with_palette(indices: UInt8, colors: UInt8) -> Image.Image:
    image = Image.fromarray(indices)
    image.putpalette(colors.ravel().tolist())
    return image


def opaque(mode: str) -> Image.Image:
    return Image.fromarray(np.repeat(IDS[..., None], 3, -1)).convert(mode)


def saved(array: npt.NDArray[Any]) -> bytes:
    """The array as a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def archived(array: npt.NDArray[Any]) -> bytes:
    """The array as a .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, array)
    return buffer.getvalue()


def encoded_by_tifffile(array: npt.NDArray[Any]) -> bytes:
    """The array as a TIFF, of several with each channel apart."""
    buffer = io.BytesIO()
    apart = {"photometric": "rgb", "planarconfig": "separate"} if array.ndim == 3 else {}
    tifffile.imwrite(buffer, array, **apart)
    return buffer.getvalue()


EXACT: dict[str, Callable[[], bytes]] = {
    "8-bit grey PNG": lambda: encoded(IDS),
    "16-bit grey PNG": lambda: encoded(Image.fromarray(IDS.astype(np.uint16))),
    "TIFF": lambda: encoded(IDS, "TIFF"),
    "16-bit TIFF": lambda: encoded(Image.fromarray(IDS.astype(np.uint16)), "TIFF"),
    "TIFF of whole numbers": lambda: encoded(Image.fromarray(IDS.astype(np.float32)), "TIFF"),
    "GIF": lambda: encoded(with_palette(IDS, np.eye(3, dtype=np.uint8) * 9), "GIF"),
    "NumPy": lambda: saved(IDS.astype(np.int64)),
    "NumPy of bytes": lambda: saved(IDS),
    "NumPy with an axis before": lambda: saved(IDS[None]),
    "NumPy's archive": lambda: archived(IDS.astype(np.int32)),
    "TIFF of doubles": lambda: encoded_by_tifffile(IDS.astype(np.float64)),
    "TIFF of equal channels apart": lambda: encoded_by_tifffile(np.stack([IDS] * 3)),
    "grey and opaque alpha": lambda: encoded(opaque("LA")),
    "three equal channels": lambda: encoded(opaque("RGB")),
    "three equal channels and opaque alpha": lambda: encoded(opaque("RGBA")),
    "8-bit palette": lambda: encoded(with_palette(IDS, np.eye(3, dtype=np.uint8) * 9)),
    "2-bit palette": lambda: encoded(with_palette(IDS, np.eye(3, dtype=np.uint8) * 9), bits=2),
    "BMP": lambda: encoded(IDS, "BMP"),
    "BMP in colours": lambda: encoded(opaque("RGB"), "BMP"),
    "lossless WebP": lambda: encoded(opaque("RGB"), "WEBP", lossless=True),
    "lossless WebP with a header": lambda: encoded(
        opaque("RGBA"), "WEBP", lossless=True, exif=b"Exif\0\0"
    ),
}


@pytest.mark.parametrize("form", EXACT)
def test_ids_are_read_from_every_exact_form_without_being_told(form: str) -> None:
    mask = decoded(EXACT[form]())
    assert np.array_equal(np.asarray(mask.ids), IDS) and not mask.uncovered
    assert sum(mask.values.values()) == IDS.size


COLORED: dict[str, Callable[[], bytes]] = {
    "colours": lambda: encoded(COLORS[IDS]),
    "colours and opaque alpha": lambda: encoded(Image.fromarray(COLORS[IDS]).convert("RGBA")),
    "a palette": lambda: encoded(with_palette(IDS, COLORS)),
    "a palette in another order": lambda: encoded(with_palette(2 - IDS, COLORS[::-1])),
    "a palette with black at its end": lambda: encoded(
        with_palette(IDS, np.concatenate([COLORS, np.zeros((1, 3), np.uint8)]))
    ),
    "BMP": lambda: encoded(COLORS[IDS], "BMP"),
    "lossless WebP": lambda: encoded(COLORS[IDS], "WEBP", lossless=True),
}


@pytest.mark.parametrize("form", COLORED)
def test_colours_are_read_from_every_exact_form(form: str) -> None:
    mask = decoded(COLORED[form](), BY_COLOR)
    assert np.array_equal(np.asarray(mask.ids), IDS) and not mask.uncovered and not mask.colors


def test_grey_is_a_colour_of_equal_channels() -> None:
    greys = [{"name": n, "colors": [[v, v, v]]} for n, v in (("a", 0), ("b", 127), ("c", 255))]
    mask = decoded(encoded(np.array([0, 127, 255], np.uint8)[IDS]), greys)
    assert np.array_equal(np.asarray(mask.ids), IDS)
    one_bit = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert np.asarray(decoded(encoded(one_bit), greys).ids).tolist() == [[0, 2]]


def test_ids_of_16_bits_are_mapped() -> None:
    ids = np.array([[0, 300], [65535, 300]], np.uint16)
    mask = decoded(encoded(Image.fromarray(ids)), {"0": "a", "300": "b", "65535": "c"})
    assert np.asarray(mask.ids).tolist() == [[0, 1], [2, 1]]


@pytest.mark.parametrize(("above", "one"), [(0, 1), (127, 1)])
def test_white_of_one_bit_is_above_every_threshold(above: int, one: int) -> None:
    white = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    two_colors = with_palette(ids([0, 1]), np.array([(0, 0, 0), (255, 255, 255)], np.uint8))
    for image in (white, two_colors):
        mask = decoded(encoded(image), ["a", {"name": "b", "above": above}])
        assert np.asarray(mask.ids).tolist() == [[0, one]]


def test_above_0_gives_the_same_of_masks_of_0_and_1_and_of_0_and_255() -> None:
    rules = ["background", {"name": "polyp", "above": 0}]
    one = ids([0, 1], [1, 0])
    for mask in (one, one * np.uint8(255)):
        assert np.array_equal(np.asarray(decoded(encoded(mask), rules).ids), one)


def blurred() -> UInt8:
    """Grey levels 0 and 255, the left half each."""
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 16:] = 255
    return mask


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_masks_of_lossy_compression_are_read_by_thresholds_alone(form: str, mode: str) -> None:
    data = encoded(Image.fromarray(blurred()).convert(mode), form, quality=60)
    mask = decoded(data, ["a", {"name": "b", "above": 127}])
    assert np.array_equal(np.asarray(mask.ids), blurred() // 255)
    for rules in (["a", "b"], [{"name": "a", "ids": [0]}, {"name": "b", "above": 127}],
                  ["a", {"name": "b", "above": 0}]):  # fmt: skip
        with pytest.raises(UnreadableImage, match=f"{form} blurs its values.*above: "):
            decoded(data, rules)


def with_alpha(colors: UInt8, alpha: UInt8) -> bytes:
    """Colours (H, W, 3) that are shown where alpha (H, W) says."""
    return encoded(np.dstack([colors, alpha]))


SHOWN = (IDS > 0).astype(np.uint8) * np.uint8(255)


def test_transparent_ground_is_black_and_what_is_shown_has_its_colour() -> None:
    classes = [{"name": "ground", "colors": [[0, 0, 0]]}, *BY_COLOR[1:]]
    mask = decoded(with_alpha(COLORS[IDS], SHOWN), classes)
    assert np.array_equal(np.asarray(mask.ids), IDS) and mask.is_transparent
    ids_shown = np.dstack([IDS] * 3)
    assert np.array_equal(np.asarray(decoded(with_alpha(ids_shown, SHOWN)).ids), IDS)


def test_black_that_alone_is_shown_is_read_by_its_alpha() -> None:
    soft = np.array([[0, 100, 200, 255]], np.uint8)
    mask = decoded(
        with_alpha(np.zeros((1, 4, 3), np.uint8), soft), ["a", {"name": "b", "above": 127}]
    )
    assert np.asarray(mask.ids).tolist() == [[0, 0, 1, 1]]
    hard = decoded(with_alpha(np.zeros((*IDS.shape, 3), np.uint8), SHOWN), {"0": "a", "255": "b"})
    assert np.array_equal(np.asarray(hard.ids), IDS > 0)


def test_masks_of_which_nothing_is_shown_are_the_ground() -> None:
    for mode in ("LA", "RGBA"):
        assert not np.asarray(decoded(encoded(Image.new(mode, (4, 4)))).ids).any()


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "half transparent": (
        lambda: with_alpha(COLORS[IDS], SHOWN // np.uint8(2)), "half transparent.*`above`"
    ),
    "black shown beside others": (
        lambda: with_alpha(COLORS[IDS] * (IDS != 1)[..., None], SHOWN), "black is shown in it and"
    ),
    "hidden values": (lambda: with_alpha(COLORS[IDS], SHOWN * 0), "all of it is transparent, and"),
    "blurred colours": (
        lambda: encoded(np.tile(COLORS[1], (32, 32, 1)), "JPEG"), "JPEG blurs its values"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_masks_that_cannot_be_exact_are_refused_by_name(case: str) -> None:
    make, said = REFUSED[case]
    with pytest.raises(UnreadableImage, match=said):
        decoded(make())


def test_colours_without_rules_are_counted_and_covered_by_none() -> None:
    mask = decoded(encoded(COLORS[IDS]))
    assert mask.uncovered == {(0, 0, 200): 5, (200, 0, 0): 4, (10, 20, 30): 3}
    assert (np.asarray(mask.ids) == 255).all()


def test_a_mask_in_colours_that_compression_blurred_has_no_threshold() -> None:
    data = encoded(np.tile(COLORS[1], (32, 32, 1)), "JPEG")
    with pytest.raises(UnreadableImage, match="none of them is exact"):
        decoded(data, ["a", {"name": "b", "above": 127}])


SIGNED = np.array([[-1, 0, 1], [2, -9999, 2]])


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.float32])
def test_negative_values_are_what_the_rules_say(dtype: type[np.generic]) -> None:
    classes = {"classes": [{"name": "a", "ids": [0, -9999]}, "b", "c"], "ignore": {"ids": [-1]}}
    found = decoded(saved(SIGNED.astype(dtype)), classes)
    assert np.asarray(found.ids).tolist() == [[255, 0, 1], [2, 0, 2]] and not found.uncovered


@pytest.mark.parametrize(
    "classes", [NAMES, [{"name": "a"}, {"name": "b", "above": 0}], {"0": "a", "1": "b", "2": "c"}]
)
def test_negative_values_of_no_class_are_refused_with_the_key_that_ignores_them(
    classes: object,
) -> None:
    data = saved(SIGNED.astype(np.int32))
    with pytest.raises(
        UnreadableImage, match=r"-9999\.\.2.*ignore: \{ids: \[-9999, -1\]\}"
    ) as told:
        decoded(data, classes)
    ignored = Ignored.model_validate(yaml.safe_load(str(told.value).split("`")[1])["ignore"])
    found = decode_mask(data, parse_rules(classes, "classes", ignored))
    assert (np.asarray(found.ids) == 255).tolist() == (SIGNED < 0).tolist()


def test_values_above_16_bits_are_above_every_threshold() -> None:
    data = saved(np.array([[0, 5, 70_000, 2**31 - 1]]))
    classes = [{"name": "ground"}, {"name": "cell", "above": 0}]
    assert np.asarray(decoded(data, classes).ids).tolist() == [[0, 1, 1, 1]]
    with pytest.raises(UnreadableImage, match=r"0 to 65535.*`above: 0`"):
        decoded(data)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "TIFF of one bit"])
def test_masks_that_store_white_as_0_are_read_as_they_are_shown_and_told(form: str) -> None:
    stored = np.array([[0, 255, 255, 0]], np.uint8)
    descending = np.arange(255, -1, -1).astype(np.uint8).repeat(3)
    data = encoded(with_palette(stored, descending))
    if form != "PNG":
        buffer = io.BytesIO()
        pixels = stored if form == "TIFF" else stored > 0
        tifffile.imwrite(buffer, pixels, photometric="miniswhite")
        data = buffer.getvalue()
    rules = parse_rules([{"name": "dark"}, {"name": "bright", "above": 0}], "classes")
    mask = decode_mask(data, rules)
    assert np.asarray(mask.ids).tolist() == [[1, 0, 0, 1]]
    facts = MaskFacts("m/0.x", "L", mask.values, mask.uncovered, mask.colors, mask.is_inverted)
    (note,) = check_masks([facts], rules, Problems())
    assert note.startswith("1 mask stores white as 0 (0.x): read is what is shown")
    assert not decode_mask(encoded(255 - stored), rules).is_inverted


def deep_png(pixels: npt.NDArray[np.uint16]) -> bytes:
    """A PNG of 16 bits a channel: of two channels grey with alpha, of three colours."""
    height, width, num = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2}[num], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_colours_of_16_bits_are_ids_where_channels_are_equal_and_else_colours_of_8() -> None:
    grey = IDS.astype(np.uint16)
    for pixels in (np.dstack([grey] * 3), np.dstack([grey, np.full_like(grey, 65535)])):
        assert np.array_equal(np.asarray(decoded(deep_png(pixels)).ids), IDS)
    for factor in (257, 1):
        pixels = COLORS.astype(np.uint16)[IDS] * np.uint16(factor)
        assert np.array_equal(np.asarray(decoded(deep_png(pixels), BY_COLOR).ids), IDS)


def test_colours_that_compression_has_blurred_are_those_of_the_nearest_if_asked_for() -> None:
    blocks = np.kron(IDS, np.ones((16, 16), np.uint8))
    data = encoded(COLORS[blocks], "JPEG", quality=95, subsampling=0)
    with pytest.raises(
        UnreadableImage, match=r"JPEG blurs its values.*as PNG.*`nearest_colors: true`"
    ) as refusal:
        decoded(data, BY_COLOR)
    assert "above" not in str(refusal.value)
    mask = decode_mask(data, parse_rules(BY_COLOR, "classes").with_nearest_colors("classes"))
    assert np.array_equal(np.asarray(mask.ids), blocks) and sum(mask.nearest.values()) > 0


def test_colours_that_compression_has_blurred_are_not_read_where_a_class_has_all_others() -> None:
    data = encoded(COLORS[np.kron(IDS, np.ones((16, 16), np.uint8))], "JPEG", quality=95)
    rules = [{"name": "ground", "colors": [[0, 0, 0]]}, {"name": "thing", "colors": "others"}]
    with pytest.raises(UnreadableImage, match=r"blurs its values.*others.*as PNG\.$") as refusal:
        decoded(data, rules)
    assert "nearest_colors" not in str(refusal.value) and "above" not in str(refusal.value)


def test_ids_that_compression_has_blurred_have_no_threshold_that_mends_them() -> None:
    with pytest.raises(UnreadableImage, match=r"none is above 2.*as PNG") as refusal:
        decoded(encoded(np.full((8, 8), 2, np.uint8), "JPEG"))
    assert "above: 127" not in str(refusal.value)


def test_scores_of_classes_are_refused_with_what_makes_ids_of_them() -> None:
    scores = np.full((3, 4, 5), 0.3, np.float32)
    with pytest.raises(UnreadableImage, match=r"5x4 pixels and 3 channels.*scores\.argmax"):
        decoded(saved(scores))
