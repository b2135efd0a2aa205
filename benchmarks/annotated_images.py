"""The same small images and masks in each of the forms that `factory inspect` reads.

Images are 64 to 256 px, half of them JPEG and half PNG, smooth with a little noise. Each has one to
eight objects of four classes: polygons of 8 to 24 points, larger ones below smaller ones.
"""

import base64
import io
import json
import math
import os
import tarfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

NAMES = ["background", "car", "person", "road", "tree"]
_CLASSES = f"classes: [{', '.join(NAMES)}]"
_ROWS_A_FILE, _ROWS_A_GROUP = 1_000, 100
KINDS = ["folder", "pairs", "zip", "parquet", "webdataset", "coco", "yolo", "labelme"]
"""`zip` is of kind pairs in an archive; `folder` is of images without masks."""


@dataclass(frozen=True)
class Shape:
    """An object of an image."""

    class_id: int
    points: list[tuple[float, float]]
    """In pixels."""


@dataclass(frozen=True)
class Picture:
    """An image and its objects."""

    name: str
    """That of its file."""
    size: int
    image: bytes
    mask: bytes
    """A palette PNG of the objects."""
    shapes: list[Shape]

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return self.name.partition(".")[0]


def make(folder: Path, num: int, processes: int) -> None:
    """Writes so many images in all forms below a folder; does nothing if they are there."""
    if (folder / "done").exists():
        return
    for part in ("pairs/images", "pairs/masks", "yolo/images", "yolo/labels", "labelme",
                 "parquet", "webdataset"):  # fmt: skip
        (folder / part).mkdir(parents=True, exist_ok=True)
    ranges = [range(start, min(num, start + _ROWS_A_FILE)) for start in range(0, num, _ROWS_A_FILE)]
    with ProcessPoolExecutor(processes) as pool, zipfile.ZipFile(folder / "pairs.zip", "w") as file:
        parts = pool.map(_write, [folder] * len(ranges), ranges)
        instances = [each for part, of_part in zip(ranges, parts, strict=True)
                     for each in _zipped(file, folder, part, of_part)]  # fmt: skip
    (folder / "coco.json").write_text(json.dumps(_coco(instances)))
    names = ", ".join(NAMES[1:])
    (folder / "yolo" / "data.yaml").write_text(f"train: images\nnames: [{names}]\n")
    (folder / "done").touch()


def source(folder: Path, kind: str) -> str:
    """The section of a config that reads one of the forms, as YAML."""
    return {
        "folder": f"{{kind: folder, url: {folder}/pairs/images}}",
        "pairs": f"{{kind: pairs, url: {folder}/pairs, {_CLASSES}}}",
        "zip": f"{{kind: pairs, url: {folder}/pairs.zip, {_CLASSES}}}",
        "parquet": f"{{kind: parquet, url: {folder}/parquet, {_CLASSES}}}",
        "webdataset": f"{{kind: webdataset, url: {folder}/webdataset, image_ending: img, "
        f"mask_ending: seg.png, {_CLASSES}}}",
        "coco": f"{{kind: coco, url: {folder}/pairs/images, annotations_url: {folder}/coco.json}}",
        "yolo": f"{{kind: yolo, url: {folder}/yolo}}",
        "labelme": f"{{kind: labelme, url: {folder}/labelme}}",
    }[kind]


def draw(i: int) -> Picture:
    """The image of this number, the same every time."""
    random = np.random.default_rng(i)
    size = int(random.integers(64, 257))
    coarse = Image.fromarray(random.integers(0, 256, (9, 9, 3)).astype(np.uint8))
    smooth = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)).astype(int)
    pixels = np.clip(smooth + random.integers(-6, 7, (size, size, 1)), 0, 255).astype(np.uint8)
    shapes = sorted(
        (_shape(random, size) for _ in range(random.integers(1, 9))), key=lambda s: -_area(s.points)
    )
    ids = Image.new("P", (size, size))
    ids.putpalette([0, 0, 0, 220, 20, 60, 0, 0, 142, 128, 64, 128, 107, 142, 35])
    for shape in shapes:
        ImageDraw.Draw(ids).polygon(shape.points, fill=shape.class_id)
    image = Image.fromarray(pixels)
    is_jpeg = bool(i % 2)
    data = _saved(image, "JPEG", quality=92) if is_jpeg else _saved(image, "PNG", compress_level=3)
    name = f"{i:06d}.{'jpg' if is_jpeg else 'png'}"
    return Picture(name, size, data, _saved(ids, "PNG", compress_level=3), shapes)


def _shape(random: np.random.Generator, size: int) -> Shape:
    """A polygon around a centre."""
    center = random.uniform(0.15 * size, 0.85 * size, 2)
    radius = random.uniform(0.03, 0.25) * size
    num = int(random.integers(8, 25))
    radii = radius * random.uniform(0.6, 1.0, num)
    angles = np.arange(num) * 2 * math.pi / num
    points = center + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    inside = np.clip(points, 0, size - 1).round(2)
    return Shape(int(random.integers(1, len(NAMES))), [(x, y) for x, y in inside.tolist()])


def _area(points: list[tuple[float, float]]) -> float:
    x, y = np.array(points).T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _write(folder: Path, numbers: range) -> list[tuple[str, int, list[Shape]]]:
    """Writes the files of some images, and a Parquet file and a tar of them; returns the name, the
    size and the objects of each."""
    shard = f"{numbers.start // _ROWS_A_FILE:05d}"
    rows, about = [], []
    with tarfile.open(folder / "webdataset" / f"{shard}.tar", "w") as tar:
        for picture in map(draw, numbers):
            about.append((picture.name, picture.size, picture.shapes))
            _write_files(folder, picture)
            rows.append(
                {
                    "image": {"bytes": picture.image, "path": picture.name},
                    "mask": {"bytes": picture.mask, "path": f"{picture.stem}.png"},
                }
            )
            for name, data in ((f"{picture.stem}.img", picture.image),
                               (f"{picture.stem}.seg.png", picture.mask)):  # fmt: skip
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, folder / "parquet" / f"{shard}.parquet", row_group_size=_ROWS_A_GROUP)
    return about


def _write_files(folder: Path, picture: Picture) -> None:
    """The image, its mask, its YOLO text and its labelme JSON."""
    stem = picture.stem
    image = folder / "pairs" / "images" / picture.name
    image.write_bytes(picture.image)
    (folder / "pairs" / "masks" / f"{stem}.png").write_bytes(picture.mask)
    os.link(image, folder / "yolo" / "images" / picture.name)
    os.link(image, folder / "labelme" / picture.name)
    lines = [
        " ".join([str(shape.class_id - 1), *(f"{n / picture.size:.6f}" for n in _flat(shape))])
        for shape in picture.shapes
    ]
    (folder / "yolo" / "labels" / f"{stem}.txt").write_text("\n".join(lines) + "\n")
    shapes: list[dict[str, Any]] = [
        {
            "label": NAMES[shape.class_id],
            "points": shape.points,
            "group_id": None,
            "shape_type": "polygon",
            "flags": {},
        }
        for shape in picture.shapes
    ]
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": picture.name,
        "imageData": base64.b64encode(picture.image).decode(),
        "imageHeight": picture.size,
        "imageWidth": picture.size,
    }
    (folder / "labelme" / f"{stem}.json").write_text(json.dumps(content, indent=2))


def _zipped(
    file: zipfile.ZipFile, folder: Path, numbers: range, about: list[tuple[str, int, list[Shape]]]
) -> Iterator[tuple[str, int, list[Shape]]]:
    """Adds written images and masks to an archive, and yields what is known of them."""
    for each in about:
        for name in (f"images/{each[0]}", f"masks/{each[0].partition('.')[0]}.png"):
            file.write(folder / "pairs" / name, name)
        yield each


def _flat(shape: Shape) -> list[float]:
    return [n for point in shape.points for n in point]


def _coco(instances: list[tuple[str, int, list[Shape]]]) -> dict[str, Any]:
    """COCO's JSON of all images."""
    images = [
        {"id": i, "file_name": name, "width": size, "height": size}
        for i, (name, size, _) in enumerate(instances)
    ]
    annotations = [
        {
            "image_id": i,
            "category_id": shape.class_id,
            "segmentation": [_flat(shape)],
            "area": round(_area(shape.points), 2),
            "iscrowd": 0,
        }
        for i, (_, _, shapes) in enumerate(instances)
        for shape in shapes
    ]
    for i, annotation in enumerate(annotations):
        annotation["id"] = i
    categories = [{"id": i, "name": name} for i, name in enumerate(NAMES) if i]
    return {"images": images, "annotations": annotations, "categories": categories}
