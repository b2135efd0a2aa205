"""COCO's panoptic segments: a PNG of each image, whose colours are the numbers of its segments.

Format: cocodataset.org/#format-data, part 4. The number of a segment is R + 256 G + 65536 B, and 0
is what belongs to none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.classes import IGNORE_ID
from factory.data.drawn import json_parts
from factory.data.drawn.coco import CocoImage, Instances
from factory.data.drawn.items import Size
from factory.data.files.trees import Tree
from factory.data.pixels import decoding
from factory.errors import UnreadableImage, some
from factory.images import UInt8


@dataclass(frozen=True)
class PanopticDrawing:
    """The segments of an image."""

    file_url: str
    instances: Instances
    about: CocoImage
    id_of: Mapping[str, int]
    """Name of a category -> class id."""
    draws_crowds: bool
    """True if segments of crowds are drawn like others; otherwise they are ignored."""
    files: Tree
    """The PNGs of all images."""

    @property
    def url(self) -> str:
        """The JSON, and the image in it."""
        return f"{self.file_url}#{self.about.file_name}"

    def draw(self, size: Size) -> UInt8:
        """The class of each segment; what is of no segment is ignored."""
        if len(self.about.starts) != 1:
            raise UnreadableImage(
                f"has {len(self.about.starts)} annotations instead of one. Mend the file, or leave "
                "out images without any with `unannotated: skip`."
            )
        annotation = json_parts.value_at(self.instances.text, self.about.starts[0])
        numbers = self._numbers(annotation["file_name"])
        class_of = {0: IGNORE_ID, **dict(map(self._class_of, annotation["segments_info"]))}
        found, positions = np.unique(numbers, return_inverse=True)
        if unknown := [str(number) for number in found.tolist() if number not in class_of]:
            raise UnreadableImage(
                f"its PNG {annotation['file_name']} shows the segments {some(unknown)}, which the "
                "JSON does not list for it. Use the JSON that belongs to the PNGs.",
                annotation["file_name"],
            )
        table = np.array([class_of[number] for number in found.tolist()], np.uint8)
        ids: UInt8 = table[positions.reshape(numbers.shape)]
        return ids

    def _numbers(self, name: str) -> npt.NDArray[np.int64]:
        """(H, W) the number of each pixel's segment. Raises UnreadableImage, OSError."""
        try:
            image = decoding.open_file(self.files.read(name))
        except FileNotFoundError:
            raise UnreadableImage(
                f"its segments are in {self.files.url_of(name)}, which is not there. Name the "
                "folder of the PNGs in `segments_url:`.",
                self.files.url_of(name),
            ) from None
        if image.format != "PNG" or image.mode != "RGB":
            raise UnreadableImage(
                f"its segments are in {self.files.url_of(name)}, of format {image.format} and mode "
                f"{image.mode}, not a PNG in colours. Export it again.",
                self.files.url_of(name),
            )
        red, green, blue = np.moveaxis(np.asarray(image).astype(np.int64), -1, 0)
        numbers: npt.NDArray[np.int64] = red + 256 * green + 65536 * blue
        return numbers

    def _class_of(self, segment: Mapping[str, Any]) -> tuple[int, int]:
        """The number of a segment and its class id."""
        if segment.get("iscrowd") and not self.draws_crowds:
            return segment["id"], IGNORE_ID
        return segment["id"], self.id_of[self.instances.label(segment["category_id"])]
