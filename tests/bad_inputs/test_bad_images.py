"""Images that cannot be learned from: each is named, with the reason, before anything starts."""

import io
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factory.data.files.trees import MAX_BYTES
from factory.images import MAX_PIXELS
from tests.bad_inputs.cases import END, IMAGE, Case, case, encoded, header, noise, png, put, table

JPEG = encoded(noise(64, 64), "JPEG")
GIVE_UP = "Replace or remove"
FORMATS = "not a PNG/JPEG/WEBP/BMP/TIFF/GIF/PPM/JPEG2000/AVIF image"
FRAMES = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]


def bad(name: str, data: bytes, what: str, file: str = "bad.png", remedy: str = GIVE_UP) -> Case:
    """One bad file beside a good one."""

    def make(folder: Path) -> None:
        put(folder, "good.png", IMAGE)
        put(folder, file, data)

    return case(name, make, (f"/{file}", what, remedy))


def cut(form: str, left: float) -> bytes:
    data = encoded(noise(64, 64), form)
    return data[: int(len(data) * left)]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def moving(form: str) -> bytes:
    return encoded(FRAMES[0], form, save_all=True, append_images=FRAMES[1:])


def text_bomb() -> bytes:
    """A comment of a few KiB that inflates to 40 MiB."""
    body = b"note\0\0" + zlib.compress(bytes(40 * 2**20), 9)
    return png(header(1, 1), (b"zTXt", body), (b"IDAT", zlib.compress(b"\0\0")), END)


def pixel_bomb() -> bytes:
    """Real pixels, one bit each: twice as many as are allowed, in some 16 KiB."""
    buffer = io.BytesIO()
    Image.new("1", (26_000, 5_000)).save(buffer, "PNG")
    return buffer.getvalue()


def damaged_exif() -> bytes:
    return encoded(noise(), exif=b"Exif\0\0no TIFF at all")


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npy_header(shape: tuple[int, ...]) -> bytes:
    """What an array would begin with."""
    buffer = io.BytesIO()
    about = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, about)
    return buffer.getvalue()


CONTENTS = [
    bad("an empty file", b"", "empty file"),
    bad("a web page named jpg", b"<html>404</html>", f"{FORMATS} (starts with b'<html>", "bad.jpg"),
    bad("one byte", b"\x89", FORMATS),
    bad("spaces", b" " * 100, FORMATS),
    bad("a drawing as SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>", FORMATS),
    bad("PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", FORMATS, "bad.jpg"),
    bad("a PDF", encoded(noise(), "PDF"), FORMATS, "bad.jpeg"),
    bad("a moving GIF", moving("GIF"), "an animation of several frames", "bad.gif"),
    bad("a TIFF of two pages", moving("TIFF"), "several pages: save each as a file", "bad.tif"),
    bad("a cut TIFF", cut("TIFF", 0.5), "damaged image", "bad.tif"),
    bad("a cut GIF", cut("GIF", 0.5), "damaged image", "bad.gif"),
    bad("a cut AVIF", cut("AVIF", 0.5), "damaged image", "bad.avif"),
    bad("an icon", encoded(noise(), "ICO"), FORMATS),
    bad("the start of a JPEG 2000", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "damaged", "bad.jp2"),
    bad("HEIC", b"\0\0\0\x18ftypheic" + bytes(40), FORMATS, "bad.jpg"),
    bad("a pickle", pickle.dumps([1, 2]), FORMATS),
    bad("an array of objects", npy(np.array([{}])), "an array of object, not of bool", "bad.npy"),
    bad(
        "an array of a volume", npy(np.zeros((4, 5, 6))), "shape (4, 5, 6), not (height", "bad.npy"
    ),
    bad("an array without a pixel", npy(np.zeros((0, 5))), "an array of shape (0, 5)", "bad.npy"),
    bad("a cut array", npy(noise())[:-9], "do not hold shape (16, 16, 3)", "bad.npy"),
    bad("a claim of an array", npy_header((2**20, 2**20)), "more than 64000000", "bad.npy"),
    bad("an array with a damaged header", npy(noise())[:20], "damaged array (in its", "bad.npy"),
    bad("a JPEG cut in its middle", cut("JPEG", 0.5), "damaged image", "bad.jpg"),
    bad("a JPEG that lacks its last bytes", JPEG[:-100], "truncated", "bad.jpg"),
    bad("a JPEG that is all header", JPEG[:200], "damaged image", "bad.jpg"),
    bad("a PNG cut in its middle", cut("PNG", 0.5), "damaged image"),
    bad("a PNG that is its signature", b"\x89PNG\r\n\x1a\n", "damaged image"),
    bad("a PNG without pixels", png(header(8, 8), END), "damaged image"),
    bad("a PNG with a flipped bit in its pixels", flipped(encoded(noise()), 60), "damaged image"),
    bad("a PNG with a flipped bit in its header", flipped(encoded(noise()), 18), "damaged image"),
    bad("a PNG without height", png(header(8, 0), (b"IDAT", b""), END), "damaged image"),
    bad("a cut WebP", cut("WEBP", 0.5), "damaged image", "bad.webp"),
    bad("a cut BMP", cut("BMP", 0.5), "damaged image", "bad.bmp"),
    bad(
        "a BMP of a size beyond its bytes",
        b"BM"
        + struct.pack(
            "<IIIIiiHHIIIIII", 54, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0
        ),
        "pixels",
        "bad.bmp",
    ),
    bad("a moving PNG", moving("PNG"), "animation of 2 frames"),
    bad("a moving WebP", moving("WEBP"), "animation of 2 frames", "bad.webp"),
    bad(
        "a claim of more pixels than we take",
        png(header(9000, 8000), END),
        f"9000x8000 pixels, more than {MAX_PIXELS}",
    ),
    bad(
        "a claim of more pixels than Pillow takes",
        png(header(60_000, 60_000), END),
        f"more than {MAX_PIXELS} pixels",
    ),
    bad("a decompression bomb of pixels", pixel_bomb(), f"more than {MAX_PIXELS}"),
    bad("a decompression bomb of text", text_bomb(), "damaged image"),
    bad("EXIF data that point nowhere", damaged_exif(), "damaged EXIF", remedy="Save it again"),
]


def five_bad(folder: Path) -> None:
    for name, data in {
        "a.png": b"",
        "b.jpg": b"<html>",
        "c.png": cut("PNG", 0.5),
        "d.webp": moving("WEBP"),
        "sub/e.png": png(header(9000, 8000), END),
    }.items():
        put(folder, name, data)
    put(folder, "good.png", IMAGE)


def very_many(folder: Path) -> None:
    for i in range(60):
        put(folder, f"{i:03d}.png", b"")


def special(kind: str) -> Callable[[Path], None]:
    """What is no regular file: to read it is to wait or to be flooded."""

    def make(folder: Path) -> None:
        put(folder, "good.png", IMAGE)
        file = folder / "odd.png"
        if kind == "pipe":
            os.mkfifo(file)
        elif kind == "vast":
            file.touch()
            os.truncate(file, 10 * 2**40)
        else:
            file.symlink_to(
                {"device": "/dev/zero", "broken": "nowhere.png", "loop": "odd.png"}[kind]
            )

    return make


def named(name: bytes) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        put(folder, "good.png", IMAGE)
        put(folder, name, b"")

    return make


IRREGULAR = "no regular file"
FILES = [
    case(
        "five bad files at once",
        five_bad,
        ("/a.png", "empty file", GIVE_UP),
        ("/b.jpg", FORMATS, GIVE_UP),
        ("/c.png", "damaged image", GIVE_UP),
        ("/d.webp", "animation", GIVE_UP),
        ("/sub/e.png", "9000x8000", GIVE_UP),
    ),
    case(
        "more bad files than fit a screen",
        very_many,
        ("/000.png: empty file", "59 others: 001.png, ", " and 53 more."),
    ),
    case("a pipe that nobody writes to", special("pipe"), ("/odd.png", IRREGULAR, "emove")),
    case("an endless device", special("device"), ("/odd.png", IRREGULAR, "emove")),
    case("a link to nothing", special("broken"), ("/odd.png", "No such file", "Restore or remove")),
    case("a link to itself", special("loop"), ("/odd.png", "symbolic links", "Restore or remove")),
    case(
        "a file of ten terabytes",
        special("vast"),
        ("/odd.png", f"more than {MAX_BYTES} bytes", "emove"),
    ),
    case(
        "a bad file of a name that is no text",
        named(b"\xff\xfe.png"),
        ("/\\udcff\\udcfe.png", "empty file", GIVE_UP),
    ),
    case(
        "a bad file of a name of two lines",
        named(b"a\nb.png"),
        ("/a\\nb.png", "empty file", GIVE_UP),
    ),
    case(
        "a bad file whose name paints the terminal",
        named(b"\x1b[31mred.png"),
        ("/\\x1b[31mred.png", "empty file", GIVE_UP),
    ),
]


def arguments(folder: Path) -> list[str]:
    source = f"{{kind: folder, url: {folder}/photos}}"
    return ["--set", f"data.unlabelled={source}", "--set", "data.image_size=16"]


@table(CONTENTS + FILES)
def test_bad_images_stop_a_training_before_it_starts(
    case: Case, refused: Callable[..., None], folder: Path
) -> None:
    case.make(folder / "photos")
    refused(case, "train", "--dry-run", "--out", "run", *arguments(folder))


def test_inspect_lists_the_same_problems_and_what_is_good(
    command: Callable[..., tuple[int, str, str]], folder: Path
) -> None:
    five_bad(folder / "photos")
    code, out, err = command("inspect", *arguments(folder), *TOY)
    assert (code, err) == (2, "")
    problems = [line for line in out.splitlines() if line.startswith("  problem: ")]
    assert [line.split("/photos/")[1].split(":")[0] for line in problems] == [
        "a.png",
        "b.jpg",
        "c.png",
        "d.webp",
        "sub/e.png",
    ]
    assert "images   1" in out


TOY = [f"--set=data.{name}={{kind: toy, num: 1}}" for name in ("labelled", "test")]


def orientated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(noise(16, 24), exif=exif)


ODD: dict[str, tuple[dict[str, bytes], str]] = {
    "grey": ({"a.png": encoded(noise()[..., 0])}, "mode L: grey is replicated"),
    "one bit": ({"a.png": encoded(Image.new("1", (16, 16)))}, "mode 1: grey is replicated"),
    "16-bit grey": ({"a.png": encoded(Image.fromarray(np.zeros((16, 16), np.uint16)))}, "by 257"),
    "CMYK": ({"a.jpg": encoded(Image.new("CMYK", (16, 16)), "JPEG")}, "without a colour profile"),
    "alpha": ({"a.png": encoded(Image.new("RGBA", (16, 16)))}, "transparent pixels show white"),
    "grey with alpha": ({"a.png": encoded(Image.new("LA", (16, 16)))}, "transparent pixels"),
    "a palette": ({"a.png": encoded(Image.new("P", (16, 16)))}, "mode P: "),
    "turned by EXIF": ({"a.png": orientated()}, "turned upright"),
    "of two pictures": ({"a.jpg": moving("MPO")}, "smaller than 16 pixels"),
    "oblong": ({"a.png": encoded(noise(16, 24))}, "1 oblong image: only the centred square"),
    "small": ({"a.png": encoded(noise(4, 4))}, "1 image smaller than 16 pixels: enlarged"),
    "twice": ({"a.png": IMAGE, "b.png": IMAGE}, "same pixels as another one"),
    "hidden files": ({"a.png": IMAGE, "._a.png": b"\0", ".DS_Store": b"", "Thumbs.db": b""}, ""),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_images_are_used_and_inspect_tells_how(
    kind: str, command: Callable[..., tuple[int, str, str]], folder: Path
) -> None:
    content, note = ODD[kind]
    for name, data in content.items():
        put(folder / "photos", name, data)
    code, out, err = command("inspect", *arguments(folder), *TOY)
    assert (code, err) == (0, "")
    report = out.partition("data.labelled")[0]
    assert note in report and ("note: " in report) == bool(note)
