"""`coco`: COCO's instances, as runs of pixels, which lose nothing, or as polygons."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pycocotools import mask as rle

from factory.classes import IGNORE_ID
from factory.data.pixels.regions import connected_regions
from factory.exporting import objects
from factory.exporting.format import PairFiles, PairFormat, Summary
from factory.exporting.outlines import Polygon
from factory.exporting.pairs import Pair
from factory.images import UInt8

INSET = 0.01
"""How far inside their regions polygons run, in pixels: so readers that cut coordinates to whole
pixels find the same pixels as pycocotools does."""

Encoded = dict[str, Any]
"""Runs of pixels as pycocotools has them: their size, and their lengths as bytes of ASCII."""


class CocoFormat(PairFormat):
    """`train/KEY.png`, `val/KEY.png` and `annotations/instances_SPLIT.json`.

    An annotation is a class of an image, or with `instances` a connected region of one. Categories
    have the numbers 1, 2, ... in order of the classes; an image's id is its pair's number plus 1.
    Pixels of 255 are an annotation with `iscrowd` 1 of every category, as COCO's evaluation leaves
    regions out category by category.
    """

    takes: ClassVar[tuple[str, ...]] = ("polygons", "instances", "background")

    def problems(self) -> list[str]:
        """A dataset must have a category."""
        return objects.category_problems(self.source)

    def pair_files(self, pair: Pair) -> PairFiles:
        """See `PairFormat`."""
        ids = objects.categories(self.source)
        found = self._objects(pair.mask, ids)
        annotations = [*(each.annotation(ids) for each in found), *_crowds(pair.mask, ids)]
        lines = {
            f"{pair.split} images": [_image(pair)],
            f"{pair.split} annotations": [
                json.dumps({"image_id": pair.index + 1, **each}) for each in annotations
            ],
        }
        counts = objects.ignored(pair.mask)
        if self.source.options.polygons:
            counts |= objects.overlaps((each.overlap() for each in found), ids)
        return PairFiles([(f"{pair.split}/{pair.key}.png", pair.image_png)], lines, counts)

    def _objects(self, mask: UInt8, ids: Sequence[int]) -> list["_Object"]:
        """What is annotated of a mask (H, W)."""
        options = self.source.options
        if not options.polygons and not options.instances:
            present = [i for i in np.unique(mask).tolist() if i in ids]
            return [_Object(i, _encoded(mask == i)) for i in present]
        if not options.polygons:
            numbers, class_ids = connected_regions(mask)
            found = [(i, n) for n, i in enumerate(class_ids.tolist()) if i in ids]
            return [_Object(i, _encoded(numbers == n)) for i, n in found]
        numbers, regions = objects.regions_of(mask, ids, INSET, INSET)
        if options.instances:
            return [
                _Object(each.class_id, _encoded(numbers == each.number), [each.polygon])
                for each in regions
            ]
        groups = {i: [each.polygon for each in regions if each.class_id == i] for i in ids}
        return [_Object(i, _encoded(mask == i), groups[i]) for i in ids if groups[i]]

    def last_files(self, summary: Summary) -> Iterator[tuple[str, Iterable[bytes]]]:
        """See `Format`."""
        for split in self.source.options.splits:
            yield f"annotations/instances_{split}.json", self._instances(split, summary)

    def _instances(self, split: str, summary: Summary) -> Iterator[bytes]:
        """The JSON of a split, a line an image and an annotation, which are numbered from 1 on."""
        classes = self.source.classes
        info = {"description": f"image/mask pairs of run {self.source.manifest.run_id}"}
        categories = [
            {"id": i, "name": classes.names[class_id], "supercategory": "", "class_id": class_id}
            for i, class_id in enumerate(objects.categories(self.source), start=1)
        ]
        yield f'{{"info": {json.dumps(info)}, "licenses": [],\n'.encode()
        yield f'"categories": {json.dumps(categories)},\n"images": [\n'.encode()
        for i, line in enumerate(summary.read_lines(f"{split} images")):
            yield f"{',' * (i > 0)}{line}\n".encode()
        yield b'],\n"annotations": [\n'
        for i, line in enumerate(summary.read_lines(f"{split} annotations")):
            yield f'{"," * (i > 0)}{{"id": {i + 1}, {line[1:]}\n'.encode()
        yield b"]}\n"

    def notes(self, summary: Summary) -> list[str]:
        """See `Format`."""
        return [
            *objects.left_out_note(summary, self.source),
            *objects.loss_note(summary, self.source, "pycocotools"),
        ]


@dataclass(frozen=True, eq=False)
class _Object:
    """What is annotated: pixels of a class, and the polygons that stand for them where they do."""

    class_id: int
    encoded: Encoded
    polygons: list[Polygon] | None = None

    def annotation(self, ids: Sequence[int]) -> dict[str, Any]:
        """The annotation without its number and that of its image."""
        found = _annotation(self.encoded, ids.index(self.class_id) + 1, crowd=False)
        if self.polygons is not None:
            found["segmentation"] = self.coordinates()
        return found

    def coordinates(self) -> list[list[float]]:
        """The polygons as COCO writes them."""
        assert self.polygons is not None
        return [polygon.round(2).ravel().tolist() for polygon in self.polygons]

    def overlap(self) -> tuple[int, int, int]:
        """The class, and the pixels that its runs and its polygons, as pycocotools fills them, have
        in common, and those that either has."""
        read = rle.merge(rle.frPyObjects(self.coordinates(), *self.encoded["size"]))
        both, either = (rle.merge([self.encoded, read], intersect=i) for i in (True, False))
        return self.class_id, int(rle.area(both)), int(rle.area(either))


def _image(pair: Pair) -> str:
    """The line of an image."""
    height, width = pair.mask.shape
    name = f"{pair.key}.png"
    return json.dumps({"id": pair.index + 1, "file_name": name, "width": width, "height": height})


def _encoded(pixels: npt.NDArray[np.bool_]) -> Encoded:
    """Pixels (H, W) as runs."""
    found: Encoded = rle.encode(np.asfortranarray(pixels.astype(np.uint8)))
    return found


def _annotation(encoded: Encoded, category: int, crowd: bool) -> dict[str, Any]:
    """The annotation of runs of pixels, without its number and that of its image."""
    return {
        "category_id": category,
        "iscrowd": int(crowd),
        "area": int(rle.area(encoded)),
        "bbox": rle.toBbox(encoded).tolist(),
        "segmentation": {**encoded, "counts": encoded["counts"].decode("ascii")},
    }


def _crowds(mask: UInt8, ids: Sequence[int]) -> list[dict[str, Any]]:
    """The annotations of ignored pixels: one of each category, if there are any."""
    pixels = mask == IGNORE_ID
    if not pixels.any():
        return []
    encoded = _encoded(pixels)
    return [_annotation(encoded, i + 1, crowd=True) for i in range(len(ids))]
