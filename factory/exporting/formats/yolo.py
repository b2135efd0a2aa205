"""`yolo`: ultralytics' segmentation, a polygon for each connected region."""

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

import numpy as np
import yaml
from PIL import Image, ImageDraw

from factory.classes import IGNORE_ID
from factory.data.drawn.yolo import DIGITS, FAR, NEAR
from factory.exporting import objects
from factory.exporting.format import PairFiles, PairFormat, Summary
from factory.exporting.objects import Region
from factory.exporting.outlines import Polygon
from factory.exporting.pairs import Pair
from factory.images import UInt8


class YoloFormat(PairFormat):
    """`images/SPLIT/KEY.png`, `labels/SPLIT/KEY.txt` and `data.yaml`.

    A line of a label is the number of a class, from 0 on in order of the classes, and the vertices
    of a polygon. An image of which nothing is a category has an empty file. Readers cut coordinates
    to whole pixels, as ultralytics does, or round them, and fill the polygon with its border: both
    find the same pixels, as polygons run so far inside their regions.
    """

    takes: ClassVar[tuple[str, ...]] = ("background",)

    def problems(self) -> list[str]:
        """A dataset must have a category."""
        return objects.category_problems(self.source)

    def pair_files(self, pair: Pair) -> PairFiles:
        """See `PairFormat`."""
        ids = objects.categories(self.source)
        height, width = pair.mask.shape
        _, regions = objects.regions_of(pair.mask, ids, NEAR, FAR)
        shares = [(region.polygon / [width, height]).round(DIGITS) for region in regions]
        lines = [
            f"{ids.index(region.class_id)} {_coordinates(share)}\n"
            for region, share in zip(regions, shares, strict=True)
        ]
        files = [
            (f"images/{pair.split}/{pair.key}.png", pair.image_png),
            (f"labels/{pair.split}/{pair.key}.txt", "".join(lines).encode()),
        ]
        polygons = [share * [width, height] for share in shares]
        read = _read(regions, polygons, height, width)
        overlaps = objects.overlaps_of_classes(pair.mask, read, ids)
        return PairFiles(files, counts=objects.ignored(pair.mask) | overlaps)

    def last_files(self, summary: Summary) -> Iterator[tuple[str, Iterable[bytes]]]:
        """See `Format`."""
        names, splits = self.source.classes.names, self.source.options.splits
        splits = tuple(split for split in splits if summary.num.get(split)) or splits
        content = {
            "train": f"images/{splits[0]}",
            # ultralytics asks for both, and that there are images of both.
            "val": f"images/{splits[-1]}",
            "names": {i: names[n] for i, n in enumerate(objects.categories(self.source))},
        }
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        yield "data.yaml", [text.encode()]

    def notes(self, summary: Summary) -> list[str]:
        """See `Format`."""
        notes = objects.left_out_note(summary, self.source)
        if self.source.options.val is None:
            notes.append(
                "data.yaml names the training images for validation, too: give --val to part them"
            )
        elif sum(num > 0 for num in summary.num.values()) == 1:
            notes.append("data.yaml names the images of one split for training and validation")
        return notes + objects.loss_note(summary, self.source, "ultralytics")


def _coordinates(share: Polygon) -> str:
    """Vertices (V, 2), as shares of the width and the height, on a line."""
    return " ".join(f"{value:.{DIGITS}f}" for value in share.ravel().tolist())


def _read(regions: Sequence[Region], polygons: Sequence[Polygon], height: int, width: int) -> UInt8:
    """(height, width) the class ids that ultralytics finds in polygons (V, 2), 255 where there are
    none: it cuts coordinates to whole pixels, and fills polygons with their borders."""
    picture = Image.new("L", (width, height), IGNORE_ID)
    pen = ImageDraw.Draw(picture)
    for region, polygon in zip(regions, polygons, strict=True):
        corners = [(x, y) for x, y in np.trunc(polygon).tolist()]
        pen.polygon(corners, fill=region.class_id, outline=region.class_id)
    return np.asarray(picture)
