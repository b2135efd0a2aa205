"""Claims about factory.data.pixels.intact."""

import io
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from factory.data.pixels import decoding, intact
from factory.data.pixels.reading import Reading
from factory.errors import UnreadableImage
from factory.png import encode_png

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)


def encoded(form: str, mode: str = "RGB", **options: Any) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(sink, form, **options)
    return sink.getvalue()


def oriented(form: str) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return encoded(form, exif=exif)


WHOLE = {
    "png": encode_png(PIXELS),
    "png-pillow": encoded("PNG"),
    "png-palette": encoded("PNG", "P"),
    "png-turned": oriented("PNG"),
    "jpeg": encoded("JPEG"),
    "jpeg-cmyk": encoded("JPEG", "CMYK"),
    "jpeg-progressive": encoded("JPEG", progressive=True),
    "jpeg-turned": oriented("JPEG"),
    "jpeg-padded": encoded("JPEG") + b"\0" * 7,
    "webp": encoded("WEBP", lossless=True),
    "gif": encoded("GIF"),
    "bmp": encoded("BMP"),
    "tiff": encoded("TIFF"),
    "ppm": encoded("PPM"),
}
UNDECODED = {name for name in WHOLE if name.startswith(("png", "jpeg"))} - {"png-turned"}


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Grows by the files that are decoded."""
    found: list[bytes] = []
    original = decoding.decode_image

    def recording(data: bytes, way: Reading) -> Any:
        found.append(data)
        return original(data, way)

    monkeypatch.setattr(decoding, "decode_image", recording)
    return found


@pytest.mark.parametrize("name", WHOLE)
def test_whole_images_pass_and_common_ones_are_not_decoded(name: str, decoded: list[bytes]) -> None:
    intact.check_image(WHOLE[name])
    assert bool(decoded) == (name not in UNDECODED)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("share", [0, 0.02, 0.3, 0.9, 0.999])
def test_images_that_were_cut_off_are_refused_as_decoding_refuses_them(
    name: str, share: float
) -> None:
    cut = WHOLE[name].rstrip(b"\0")[: int(len(WHOLE[name]) * share)]
    try:
        decoding.decode_image(cut)
    except UnreadableImage as error:
        with pytest.raises(UnreadableImage) as refused:
            intact.check_image(cut)
        assert str(refused.value) == str(error)
    else:
        intact.check_image(cut)


def test_every_altered_byte_of_a_png_is_seen_by_decoding_it(decoded: list[bytes]) -> None:
    whole = encode_png(PIXELS[:6, :6])
    for i in range(8, len(whole)):
        altered = bytearray(whole)
        altered[i] ^= 1
        decoded.clear()
        with suppress(UnreadableImage):
            intact.check_image(bytes(altered))
        assert decoded, i


@pytest.mark.parametrize("name", [name for name in WHOLE if name.startswith(("jpeg", "webp"))])
def test_damage_among_the_pixels_is_seen_wherever_decoding_sees_it(name: str) -> None:
    rng, num_seen = np.random.default_rng(0), 0
    for _ in range(60):
        altered = bytearray(WHOLE[name])
        place = int(rng.integers(20, len(altered) - 20))
        altered[place : place + 2] = rng.choice([b"\xff\xd9", b"\xff\xda", b"\xff\xc4", b"\0\0"])
        try:
            decoding.decode_image(bytes(altered))
        except UnreadableImage as error:
            num_seen += 1
            with pytest.raises(UnreadableImage) as refused:
                intact.check_image(bytes(altered))
            assert str(refused.value) == str(error)
        else:
            intact.check_image(bytes(altered))
    assert num_seen > 5


def test_values_of_which_only_the_pixels_tell_are_decoded() -> None:
    sink = io.BytesIO()
    Image.fromarray(np.resize(np.arange(1024, dtype=np.uint16), (64, 64))).save(sink, "PNG")
    with pytest.raises(UnreadableImage, match="of its 1024 levels"):
        intact.check_image(sink.getvalue())
    intact.check_image(sink.getvalue(), Reading(intensity=(0, 1023)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "empty"), (b"hello", "not a PNG/JPEG"), (b"\xff\xd8\xff\xd9", "in its header")],
)
def test_what_is_no_image_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason):
        intact.check_image(data)


def test_animations_and_images_of_too_many_pixels_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sink = io.BytesIO()
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    frames[0].save(sink, "WEBP", save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableImage, match="animation"):
        intact.check_image(sink.getvalue())
    monkeypatch.setattr("factory.images.MAX_PIXELS", 1000)
    with pytest.raises(UnreadableImage, match="more than 1000"):
        intact.check_image(WHOLE["jpeg"])
