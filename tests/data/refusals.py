"""Inputs that are refused with a setting that would accept them: a table."""

import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from factory.images import UInt8
from factory.png import encode_png
from tests.data.inputs import encoded

SIDE = 16
CLASSES = ["ground", "disc"]
IDS = np.repeat(np.resize(np.array([0, 1], np.uint8), SIDE)[None], SIDE, axis=0)
MASK = encode_png(IDS)


def photo(seed: int = 0, height: int = SIDE, width: int = SIDE) -> UInt8:
    """(height, width, 3) of many colours."""
    values: UInt8 = (
        np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    )
    return values


class Refused(NamedTuple):
    """An input, and what of its refusal accepts it."""

    files: Mapping[str, bytes]
    """Content by name."""
    remedies: tuple[str, ...]
    """Each the keys of which the values that are named accept it, apart by spaces; `key=1` stands
    for the second value of a key."""
    keys: Mapping[str, Any] = {}
    """Keys of the section, besides `kind: pairs`, url and classes."""
    num: int = 2
    """The number of images that are read then."""
    labelled: bool = True
    listed: tuple[str, ...] = ()
    """The images to list where the remedy is names_url."""


def files(*names: str, **more: bytes) -> dict[str, bytes]:
    """Photographs, and masks where names say so; `more` are other files, with / for __ and . for
    the last _."""
    found = {}
    for i, name in enumerate(names):
        is_mask = any(word in name.lower() for word in ("mask", "gt", "annot"))
        found[name] = MASK if is_mask else encoded(photo(i), "BMP" if ".bmp" in name else "PNG")
    named = {".".join(n.replace("__", "/").rsplit("_", 1)): data for n, data in more.items()}
    return {**found, **named}


def pairs(*masks: bytes, images: tuple[bytes, ...] = (), ending: str = "png") -> dict[str, bytes]:
    """Photographs, or other images, beside these masks."""
    shown = images or tuple(encode_png(photo(i)) for i in range(len(masks)))
    return {
        **{f"images/{i}.png": image for i, image in enumerate(shown)},
        **{f"masks/{i}.{ending}": mask for i, mask in enumerate(masks)},
    }


def deep(low: float, high: float, dtype: type) -> bytes:
    """A grey image of more than 8 bits."""
    values: Any = np.linspace(low, high, SIDE * SIDE).reshape(SIDE, SIDE).astype(dtype)
    return encoded(Image.fromarray(values), "PNG" if dtype is np.uint16 else "TIFF")


def turned() -> bytes:
    """A photograph that is stored on its side."""
    exif = Image.Exif()
    exif[274] = 6
    return encoded(photo(), "JPEG", exif=exif.tobytes())


def moving(form: str) -> bytes:
    """A file of two frames, or pages."""
    frames = [Image.fromarray(photo(seed)) for seed in (0, 1)]
    return encoded(frames[0], form, save_all=True, append_images=frames[1:])


def levels(*values: int) -> bytes:
    """A mask of these values in stripes."""
    row = np.resize(np.array(values, np.uint16), SIDE)
    deepest = row if max(values) > 255 else row.astype(np.uint8)
    return encoded(Image.fromarray(np.repeat(deepest[None], SIDE, axis=0)))


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in {"a.png": encode_png(photo()), "a.seg.png": MASK}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def table() -> bytes:
    buffer = io.BytesIO()
    rows = {"image": [{"bytes": encode_png(photo()), "path": "a.png"}], "mask": [{"bytes": MASK}]}
    pq.write_table(pa.table(rows), buffer)
    return buffer.getvalue()


COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": SIDE, "height": SIDE}],
    "categories": [{"id": 1, "name": "disc"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0,
                     "segmentation": [[2, 2, 12, 2, 12, 12]]}],
}  # fmt: skip
CROWDS = {**COCO, "annotations": [{**COCO["annotations"][0], "iscrowd": 1}]}
BOXES = {
    **COCO,
    "annotations": [{**COCO["annotations"][0], "segmentation": [], "bbox": [2, 2, 5, 5]}],
}
CITY = "aachen/aachen_00000{}_000019"
CITIES = files(
    *[f"leftImg8bit/train/{CITY.format(i)}_leftImg8bit.png" for i in range(2)],
    *[f"gtFine/train/{CITY.format(i)}_gtFine_{kind}.png"
      for i in range(2) for kind in ("labelTrainIds", "instanceIds", "color")],
)  # fmt: skip
VOC = {f"JPEGImages/{i}.jpg": encoded(photo(i), "JPEG") for i in range(3)} | {
    f"SegmentationClass/{i}.png": MASK for i in range(3)
}
BESIDE = files(*[f"{i}{end}.png" for i in range(3) for end in ("", "_mask")])
PARTS = files("images/a.png", "images/b.png", "masks/a_disc.png", "masks/b_disc.png")

REFUSALS: dict[str, Refused] = {
    "masks with an end of the name": Refused(
        files("images/a.png", "images/b.png", "masks/a_gt.png", "masks/b_gt.png"), ("masks",)
    ),
    "masks with their images' endings": Refused(
        files("images/a.bmp", "images/a.png", "masks/a.bmp.png", "masks/a.png.png"), ("masks",)
    ),
    "masks in deeper folders": Refused(
        files("images/a.png", "images/b.png", "masks/x/a.png", "masks/y/b.png"), ("masks",)
    ),
    "masks of which some are deeper": Refused(
        files("images/a.png", "images/b.png", "masks/a.png", "masks/y/b.png"), ("masks",)
    ),
    "masks with a name of their own, and some without an image": Refused(
        files("images/a.png", "images/b.png", "images/c.png",
              "masks/a_gt.png", "masks/b_gt.png", "masks/d_gt.png"), ("masks unpaired",)
    ),
    "images and masks in one folder": Refused(
        BESIDE, ("images masks",), {"images": "", "masks": ""}, num=3
    ),
    "masks that another folder holds": Refused(
        files("images/a.png", "images/b.png", "annot/a_x.png", "annot/b_x.png"), ("masks",)
    ),
    "images and masks that other folders hold": Refused(
        files("photos/a.png", "photos/b.png", "annot/a_x.png", "annot/b_x.png"), ("images masks",)
    ),
    "cases in folders": Refused(
        files("p1/image.png", "p1/mask.png", "p2/image.png", "p2/mask.png"), ("images masks",)
    ),
    "Cityscapes": Refused(
        CITIES, ("images masks",), {"images": "leftImg8bit/train", "masks": "gtFine/train"}
    ),
    "images without a mask": Refused(
        files("images/a.png", "images/b.png", "images/c.png", "masks/a.png", "masks/b.png"),
        ("unpaired", "names_url"), listed=("a", "b"),
    ),
    "masks without an image": Refused(
        files("images/a.png", "images/b.png", "masks/a.png", "masks/b.png", "masks/c.png"),
        ("unpaired",),
    ),
    "images of one stem": Refused(
        files("images/a.png", "images/a.bmp", "images/b.png", "masks/a.png", "masks/b.png"),
        ("images",),
    ),
    "masks of one stem": Refused(
        {**files("images/a.png", "x/b.png", "masks/a.png"), "masks/a.bmp": encoded(IDS, "BMP")},
        ("masks",), num=1,
    ),
    "masks of one stem, deeper": Refused(
        {**files("images/x/a.png", "masks/x/a.png"), "masks/x/a.bmp": encoded(IDS, "BMP")},
        ("masks",), num=1,
    ),
    "masks of one image by a pattern": Refused(
        files("images/a.png", "images/b.png", "masks/a_1.png", "masks/a_2.png",
              "masks/b_1.png", "masks/b_2.png"), ("masks",), {"masks": "masks/{stem}_*.png"},
    ),
    "images that a pattern does not mean": Refused(
        files("rgb/x/a.png", "rgb/x/b.png", "gt/x/a.png", "gt/x/b.png"),
        ("images",), {"images": "rgb/*.png", "masks": "gt/{dir}/{stem}.png"},
    ),
    "images of another ending than a pattern's": Refused(
        files("x/a.png", "y/b.png"), ("pattern",),
        {"kind": "folder", "pattern": "*.jpg"}, labelled=False,
    ),
    "a COCO JSON": Refused(
        files("a.png", annotations__instances_json=json.dumps(COCO).encode()),
        ("kind",), {"masks": "annotations", "images": ""}, num=1,
    ),
    "YOLO's texts": Refused(
        files("images/a.png", "images/b.png", labels__a_txt=b"0 .1 .1 .5 .1 .5 .5",
              labels__b_txt=b"", data_yaml=b"names: [disc]"),
        ("kind",), {"masks": "labels"},
    ),
    "tars": Refused({"0.tar": tar()}, ("kind",), num=1),
    "Parquet files": Refused({"0.parquet": table()}, ("kind",), num=1),
    "tars as images": Refused({"0.tar": tar()}, ("kind",), {"kind": "folder"}, 1, labelled=False),
    "a folder as a source of masks": Refused(
        files("images/a.png", "masks/a.png"), ("kind",), {"kind": "folder"}, num=1
    ),
    "keys of another kind": Refused(
        files("images/a.png", "masks/a.png"), ("kind",),
        {"kind": "folder", "masks": "masks", "unpaired": "skip"}, num=1,
    ),
    "VOC as a folder of images": Refused(
        VOC, ("url", "names_url"), {"kind": "folder"}, 3, False, ("0.jpg", "1.jpg", "JPEGImages/2")
    ),
    "pairs as a folder of images": Refused(
        files("images/a.png", "masks/a.png"), ("url",), {"kind": "folder"}, 1, labelled=False
    ),
    "masks beside images as a folder of images": Refused(
        BESIDE, ("exclude", "names_url"), {"kind": "folder"}, 3, False, ("0", "1", "2")
    ),
    "pictures of which most are not read": Refused(
        files("a.png", b_dcm=b"x", c_dcm=b"x"), ("names_url",),
        {"kind": "folder"}, 1, False, ("a",),
    ),
    "12 bits in 16": Refused(
        pairs(MASK, MASK, images=(deep(500, 1900, np.uint16), deep(400, 1905, np.uint16))),
        ("intensity", "intensity=1"),
    ),
    "floats beyond 1": Refused(
        pairs(MASK, images=(deep(-1000, 400, np.float32),)), ("intensity", "intensity=1"), num=1
    ),
    "an animation among images": Refused(
        pairs(MASK, images=(moving("GIF"),)), ("frames",), num=1
    ),
    "an image of several pages": Refused(
        pairs(MASK, images=(moving("TIFF"),)), ("frames",), num=1
    ),
    "photographs that are stored turned": Refused(
        pairs(MASK, images=(turned(),)), ("exif", "exif=1"), num=1
    ),
    "masks of 0 and 255": Refused(pairs(levels(0, 255), levels(0, 255)), ("classes",)),
    "masks of levels": Refused(pairs(levels(0, 200)), ("classes", "ignore"), num=1),
    "masks of 0, 1 and 255 without another class": Refused(
        pairs(levels(0, 255), levels(0, 255), levels(0, 1)), ("classes",), num=3
    ),
    "masks of numbers from 1": Refused(pairs(levels(1, 2)), ("classes", "ignore"), num=1),
    "masks of 0 for no label": Refused(pairs(levels(0, 1, 2)), ("classes ignore=1",), num=1),
    "masks of objects": Refused(pairs(levels(*range(9)), levels(*range(5))), ("classes", "ignore")),
    "masks of objects in 16 bits": Refused(
        pairs(levels(0, 1001, 1002)), ("classes ignore=1", "classes=1"), num=1
    ),
    "masks of classes and objects as KITTI has them": Refused(
        pairs(levels(0, 257), levels(513, 514)), ("ids_divided_by",), {"classes": ["a", "b", "c"]}
    ),
    "masks of classes and objects as Cityscapes has them": Refused(
        pairs(levels(1, 2000), levels(2001, 3000)), ("ids_divided_by smaller_ids",),
        {"classes": ["a", "b", "c", "d"]},
    ),
    "values below what divides them": Refused(
        pairs(levels(1, 512)), ("smaller_ids", "smaller_ids=1"),
        {"classes": ["a", "b", "c"], "ids_divided_by": 256}, num=1,
    ),
    "divided values of no class": Refused(
        pairs(levels(0, 512)), ("ignore",), {"ids_divided_by": 256}, num=1
    ),
    "masks of a border": Refused(
        pairs(levels(0, 1, 7)), ("ignore",), {"classes": ["a", "b", "c", "d"]}, num=1
    ),
    "masks of a colour of no class": Refused(
        pairs(encoded(np.where(IDS[..., None] == 1, np.uint8(9), np.array([1, 2, 3], np.uint8)))),
        ("ignore",), {"classes": [{"name": "a", "colors": [[1, 2, 3]]},
                                  {"name": "b", "colors": [[4, 5, 6]]}]}, num=1,
    ),
    "masks of the colours that show classes": Refused(
        pairs(encoded(np.array([(0, 0, 0), (250, 50, 83)], np.uint8)[IDS])), ("classes",),
        {"classes": [{"name": "a", "color": [0, 0, 0]}, {"name": "b", "color": [250, 50, 83]}]},
        num=1,
    ),
    "masks as JPEG": Refused(
        pairs(encoded(IDS.repeat(16, 0).repeat(16, 1) * np.uint8(255), "JPEG"),
              images=(encode_png(photo(0, 256, 256)),), ending="jpg"), ("classes",), num=1,
    ),
    "parts of no class": Refused(PARTS, ("classes",), {"masks": "masks/{stem}_{part}.png"}),
    "parts of which some are of no class": Refused(
        {**PARTS, "masks/a_bar.png": MASK}, ("ignore",),
        {"masks": "masks/{stem}_{part}.png", "classes": ["a", {"name": "b", "parts": ["disc"]}]},
    ),
    "classes of parts without parts": Refused(
        PARTS, ("masks",), {"masks": "masks/{stem}_disc.png",
                            "classes": ["a", {"name": "b", "parts": ["disc"]}]},
    ),
    "a list of VOC's of a class": Refused(
        files("images/a.png", "images/b.png", "masks/a.png", "masks/b.png",
              list_txt=b"a  1\nb -1\n"), ("names_key",), {"names_url": "list.txt"}, num=1,
    ),
    "tiles that are larger than images": Refused(
        pairs(MASK), ("tile_size",), {"fit": "tile", "tile_size": 99}, num=1
    ),
    "tiles of images that are not cut": Refused(pairs(MASK), ("fit",), {"tile_size": 8}, num=4),
    "crowds in what kind auto takes for COCO": Refused(
        files("images/a.png", objects_json=json.dumps(CROWDS).encode()),
        ("kind crowds", "kind crowds=1"), {"kind": "auto"}, num=1,
    ),
    "boxes in what kind auto takes for COCO": Refused(
        files("images/a.png", objects_json=json.dumps(BOXES).encode()), ("kind boxes",),
        {"kind": "auto", "classes": None}, num=1,
    ),
    "masks that nothing explains": Refused(
        pairs(levels(0, 255), levels(0, 255)), ("classes",), {"kind": "auto", "classes": None}
    ),
    "masks of one value": Refused(
        pairs(levels(0), levels(0)), ("classes",), {"kind": "auto", "classes": None}
    ),
}  # fmt: skip
"""The inputs by what they are."""
