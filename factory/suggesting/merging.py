"""Labelled images and corrected ones in one new folder of pairs: PNG files, value = class id.

Images are written as they are decoded, upright and whole, masks as class ids of the same size. So
the folder needs none of the settings by which the old ones were read, but for how images become
square.

Shapes: H height, W width, S image size, C channels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from factory import storage
from factory.classes import Classes
from factory.data.files import listing
from factory.data.items import Source
from factory.data.kinds.pairs import PairsSource
from factory.data.loading import first_lines
from factory.data.passes import whole_mask
from factory.data.pixels import geometry
from factory.data.pixels.geometry import Box, Placement
from factory.data.pixels.reading import DEFAULT_READING, Reading
from factory.errors import Problems, UnreadableImage, UserError
from factory.generation.source_images import files_of
from factory.images import UInt8, pillow_image
from factory.png import encode_png
from factory.shards.layout import to_json
from factory.storage import Folder
from factory.suggesting.file_names import Stems

_CLASSES = "classes.json"


@dataclass(frozen=True, eq=False)
class Pair:
    """An image and its mask."""

    name: str
    """The name of the image in its source."""
    image: UInt8
    """(H, W, C)."""
    mask: UInt8
    """(H, W) class ids, 255 = ignore."""


@dataclass(frozen=True)
class OldPairs:
    """The labelled images that there are, read one by one."""

    pairs: Sequence[Pair]
    reading: Reading
    """The keys of their source; `fit` and `tile_size` say how they become square."""

    @classmethod
    def read(cls, source: Source, size: int, channels: int) -> "OldPairs":
        """All labelled images of a source, whole. Raises UserError for what cannot be read."""
        found, files = files_of(source, labelled=True)
        problems = Problems()
        pairs = list[Pair]()
        for file in files:
            item = file.whole
            try:
                picture = item.image(size)
                assert found.rules is not None, "masks were asked for, and are read"
                ids = whole_mask(item, item.mask(size, found.rules), picture).ids
            except UnreadableImage as error:
                problems.add(error.of(file.image_url))
                continue
            except OSError as error:
                problems.add(listing.cannot_read(file.image_url, error))
                continue
            image = np.atleast_3d(np.asarray(picture.with_channels(channels)))
            pairs.append(Pair(file.name, image, ids))
        if problems.found:
            raise UserError(first_lines(problems.found))
        return cls(pairs, files[0].whole.reading if files else DEFAULT_READING)


def squares(image: UInt8, size: int, reading: Reading) -> Iterator[UInt8]:
    """Yields an image (H, W, C) as the network gets it (S, S, C): one square, or one a tile.

    Raises ValueError for an image that is smaller than a tile.
    """
    whole = pillow_image(image)
    if reading.fit != "tile":
        yield geometry.square_pixels(
            whole, size, geometry.placement(whole.size, size, reading.fit, None)
        )
        return
    side = reading.tile_size or min(whole.size)
    for box in geometry.tiles(whole.size, side):
        yield geometry.square_pixels(whole, size, Placement(box, Box(0, 0, size, size)))


def write_pairs(
    url: str, pairs: Sequence[Pair], classes: Classes, reading: Reading
) -> tuple[PairsSource, list[str]]:
    """Writes pairs into a new folder; returns the source that reads it, and the name of each pair
    in it. Raises OSError."""
    folder, stems, names = Folder(url), Stems(), list[str]()
    for pair in pairs:
        name = f"{stems.new(pair.name)}.png"
        folder.write(f"images/{name}", encode_png(pair.image))
        folder.write(f"masks/{name}", encode_png(pair.mask))
        names.append(name)
    folder.write(_CLASSES, to_json(classes.id2label))
    source = PairsSource(
        kind="pairs",
        url=url,
        classes_url=storage.join(url, _CLASSES),
        fit=reading.fit,
        tile_size=reading.tile_size,
    )
    return source, names
