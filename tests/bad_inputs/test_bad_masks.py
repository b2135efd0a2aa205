"""Masks without class ids, or of other pixels than their images: each is named before fitting."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.bad_inputs.cases import (
    END,
    IMAGE,
    Case,
    case,
    encoded,
    header,
    ids,
    noise,
    png,
    put,
    table,
)

REMEDY = "Save masks as 8-bit grey (L) or palette PNG, value = class id."
OF_BLURRED = "Save it anew from what it was made of, as PNG."
CLASSES = ["background", "thing"]
GREY = Image.fromarray(ids())
DEEP = np.full((16, 16), 256, np.uint16)


def bad(name: str, mask: bytes, what: str, remedy: str = REMEDY, image: bytes = IMAGE) -> Case:
    """One bad mask beside a good one."""

    def make(folder: Path) -> None:
        good(folder)
        put(folder, "images/bad.png", image)
        put(folder, "masks/bad.png", mask)

    return case(name, make, ("/masks/bad.png", what, remedy))


def good(folder: Path) -> None:
    put(folder, "classes.json", CLASSES)
    put(folder, "images/good.png", IMAGE)
    put(folder, "masks/good.png", encoded(ids()))


def turned_image() -> bytes:
    """Stored upside down."""
    exif = Image.Exif()
    exif[0x0112] = 3
    return encoded(noise(16, 24), exif=exif)


def indices_beyond() -> bytes:
    mask = Image.fromarray(ids(value=3))
    mask.putpalette([0, 0, 0, 255, 255, 255] * 128)
    return encoded(mask)


def shown_black() -> bytes:
    """Black and white on transparent ground."""
    shown = Image.new("LA", (16, 16), (255, 255))
    shown.paste((0, 255), (0, 0, 4, 4))
    shown.paste((0, 0), (8, 8, 16, 16))
    return encoded(shown)


def smoothed() -> bytes:
    return encoded(np.arange(256, dtype=np.uint8).reshape(16, 16))


def moving() -> bytes:
    return encoded(GREY, save_all=True, append_images=[Image.new("L", (16, 16))])


MASKS = [
    bad("an empty mask", b"", "empty file", "Replace or remove"),
    bad("a web page", b"<html>", "not a PNG", "Replace or remove"),
    bad("a cut mask", encoded(noise(64, 64))[:2000], "damaged image", "Replace or remove"),
    bad("a JPEG", encoded(GREY, "JPEG"), "must be exact, and JPEG blurs", OF_BLURRED),
    bad("a WebP", encoded(GREY, "WEBP"), "must be exact, and WEBP blurs", OF_BLURRED),
    bad("colours", encoded(noise()), "mode RGB has no class ids"),
    bad("half transparent grey", encoded(Image.new("LA", (16, 16), (1, 99))), "half transparent"),
    bad("black shown on nothing", shown_black(), "black is shown in it", "8-bit grey"),
    bad(
        "16-bit grey",
        encoded(Image.fromarray(np.full((16, 16), 256, np.uint16))),
        "ids 256 are not",
        "Renumber",
    ),
    bad("two masks in one", moving(), "animation of 2 frames", "Replace or remove"),
    bad("a decompression bomb", png(header(60_000, 60_000), END), "pixels", "Replace or remove"),
    bad("an unknown class", encoded(ids(value=7)), "ids 7 are not classes", "Renumber"),
    bad("smoothed edges", smoothed(), "were the edges smoothed?", "Renumber"),
    bad("palette indices beyond the classes", indices_beyond(), "ids 3 are not", "Renumber"),
    bad("a larger mask", encoded(ids(32, 40)), "40x32 pixels, its image 16x16", "at its image's"),
    bad("no whole factor", encoded(ids(24, 24)), "24x24 pixels, its image 16x16", "at its image's"),
    bad("other proportions", encoded(ids(16, 8)), "8x16 pixels, its image 16x16", "at its image's"),
    bad(
        "an image that is turned, its mask is not",
        encoded(ids(16, 24)),
        "orientation of its image is 3, its own 1",
        "Set exif: apply_to_masks if",
        turned_image(),
    ),
]


def white_foreground(folder: Path, value: int = 255) -> None:
    put(folder, "classes.json", CLASSES)
    for name in "ab":
        mask = ids() * np.uint8(255) if value else np.full((16, 16), 255, np.uint8)
        put(folder, f"images/{name}.png", IMAGE)
        put(folder, f"masks/{name}.png", encoded(mask))


def five_bad(folder: Path) -> None:
    good(folder)
    masks = [
        b"",
        encoded(GREY, "JPEG"),
        encoded(noise()),
        encoded(ids(5, 7)),
        encoded(ids(value=9)),
    ]
    for name, mask in zip("abcde", masks, strict=True):
        put(folder, f"images/{name}.png", IMAGE)
        put(folder, f"masks/{name}.png", mask)


SETS = [
    case(
        "white foreground",
        white_foreground,
        ("/pairs", "only 0 and 255, and 255 means ignore", "Write 1 instead of 255"),
    ),
    case(
        "nothing but ignored pixels",
        lambda folder: white_foreground(folder, 0),
        ("/pairs", "only 0 and 255, and 255 means ignore", "Write 1 instead of 255"),
    ),
    case(
        "five bad masks at once",
        five_bad,
        ("/masks/a.png", "empty", "Replace"),
        ("/masks/b.png", "JPEG", OF_BLURRED),
        ("/masks/c.png", "mode RGB", REMEDY),
        ("/masks/d.png", "7x5", "at its image's"),
        ("/masks/e.png", "ids 9", "Renumber"),
    ),
]


@table(MASKS + SETS)
def test_bad_masks_stop_a_fit_before_it_starts(
    case: Case, refused: Callable[..., None], folder: Path
) -> None:
    case.make(folder / "pairs")
    source = f"{{kind: pairs, url: {folder}/pairs, classes_url: {folder}/pairs/classes.json}}"
    refused(
        case, "fit", "--dry-run", "--out=ensemble", "--ddpm=toy", f"--set=data.labelled={source}"
    )
