"""Claims about labels that are to lie among the images that they are of."""

import pytest

from factory.config import parse_config
from factory.errors import UserError
from factory.generation.label_place import check_files, check_place

NAMES = ["images/a_rgb.jpg", "b.png"]
PAIRS_KEYS = {"kind": "pairs", "classes": ["a", "b"]}


def refusal(source: dict[str, object], format: str, out: str = "/data/out") -> str:
    """What is wrong with labels of such a source at /data; empty if nothing is."""
    label = {"url": out, "format": format, "source": {"url": "/data", **source}}
    config = parse_config({"label": label})
    try:
        check_place(config)
        check_files(config, NAMES)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("source", "format", "read"),
    [
        # Pairs: by their patterns.
        (PAIRS_KEYS, "png", None),
        ({**PAIRS_KEYS, "images": "*/images", "masks": "masks"}, "png", None),
        ({**PAIRS_KEYS, "images": "**/*_rgb.png"}, "png", "masks/images/a_rgb.png"),
        ({**PAIRS_KEYS, "masks": "out/masks"}, "png", "masks/images/a_rgb.png"),
        ({**PAIRS_KEYS, "masks": "out/masks"}, "parquet", None),
        # Folders: all images, but those that are excluded.
        ({"kind": "folder"}, "png", "masks/images/a_rgb.png"),
        ({"kind": "folder"}, "webdataset", None),
        ({"kind": "folder", "pattern": "*.png"}, "png", None),
        ({"kind": "folder", "exclude": "out"}, "png", None),
        ({"kind": "folder", "exclude": "out", "names_url": "/l.txt"}, "png", "masks/images/a_rgb"),
        # Files of many images: by their endings.
        ({"kind": "parquet"}, "parquet", "data/train-00000.parquet"),
        ({"kind": "parquet"}, "webdataset", "metadata/train-00000.parquet"),
        ({"kind": "parquet"}, "png", "data/labels-00000.parquet"),
        ({"kind": "webdataset"}, "webdataset", "data/train-00000.tar"),
        ({"kind": "webdataset"}, "parquet", None),
        # Others find files by their names.
        ({"kind": "coco"}, "png", "masks/images/a_rgb.png"),
        ({"kind": "auto"}, "parquet", "data/train-00000.parquet"),
    ],
)
def test_labels_are_refused_only_where_they_would_be_read_as_images(
    source: dict[str, object], format: str, read: str | None
) -> None:
    found = refusal(source, format)
    assert ("lies among the images" in found) == (read is not None)
    assert (read or "") in found
    # Beside the images nothing is in the way, and hidden folders are not read.
    assert refusal(source, format, "/other") == refusal(source, format, "/data/.out") == ""
    assert "is the place of the images" in refusal(source, format, "/data")
