"""Images cut into overlapping squares, each of which is an item of its own."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

from factory.alike import of_file
from factory.data.classes.class_rules import ClassRules
from factory.data.items import ImageFile, Item
from factory.data.masks.mask_decoding import Mask
from factory.data.pixels import decoding, geometry
from factory.data.pixels.decoding import Picture
from factory.data.pixels.geometry import Box
from factory.data.pixels.reading import Reading
from factory.errors import Problems, UnreadableImage
from factory.threads import NUM_THREADS

HEADER_BYTES = 2**16
"""As much of a file usually tells the size of its image."""

T = TypeVar("T")


class _Shared(Generic[T]):
    """A value that so many users need once each: the first makes it, the last lets it go."""

    def __init__(self, num_users: int) -> None:
        self._num_users = self._left = num_users
        self._value: T | None = None
        self._lock = Lock()

    def take(self, make: Callable[[], T]) -> T:
        """The value for one user; what making it raises reaches each of them."""
        with self._lock:
            value = make() if self._value is None else self._value
            self._left -= 1
            self._value = value if self._left > 0 else None
            self._left = self._left or self._num_users
            return value


@dataclass(frozen=True, slots=True)
class Tile:
    """A square of the image of an item, and of its mask."""

    whole: Item
    tile: Box
    image_size: tuple[int, int]
    """Width and height of the upright image, as they were when it was cut."""
    pictures: _Shared[Picture]
    masks: _Shared[Mask]

    @property
    def name(self) -> str:
        """The name of the image, and the tile's place in it."""
        return f"{self.whole.name}@{self.tile.left},{self.tile.top}"

    @property
    def image_url(self) -> str:
        """The place of the whole image."""
        return self.whole.image_url

    @property
    def mask_url(self) -> str | None:
        """The place of the whole mask."""
        return self.whole.mask_url

    @property
    def reading(self) -> Reading:
        """The keys of its source."""
        return self.whole.reading

    def image(self, size: int) -> Picture:
        """The whole image, which is decoded once for all of its tiles."""
        picture = self.pictures.take(lambda: self.whole.image(size))
        if picture.image.size != self.image_size:
            raise UnreadableImage(
                "has another size or EXIF orientation than the beginning of the file says. Save it "
                "again."
            )
        return picture

    def content(self) -> bytes:
        """The bytes of the whole image."""
        return self.whole.content()

    def mask(self, size: int, rules: ClassRules) -> Mask:
        """The whole mask, which is decoded once for all of its tiles."""
        return self.masks.take(lambda: self.whole.mask(size, rules))


def cut(items: Sequence[Item], problems: Problems) -> list[Item]:
    """The tiles of the images of all items, row by row.

    An image whose size cannot be told stays whole: reading it tells why. One that is smaller than a
    tile is a problem.
    """
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        sizes = list(pool.map(_image_size, items))
    found: list[Item] = []
    for item, size in zip(items, sizes, strict=True):
        if size is None:
            found.append(item)
        else:
            found.extend(_tiles_of(item, size, problems))
    return found


def wholes(items: Sequence[Item]) -> list[Item]:
    """For each item the one that it is a tile of, or itself."""
    return [item.whole if isinstance(item, Tile) else item for item in items]


def _tiles_of(item: Item, size: tuple[int, int], problems: Problems) -> list[Tile]:
    side = item.reading.tile_size or min(size)
    if side > min(size):
        own = f"{size[0]}x{size[1]} pixels"
        told = (
            f"has {own}, which no tile of {side}x{side} fits into. Set tile_size: {min(size)} or "
            "less, or leave it out for tiles as high or wide as each image."
        )
        problems.add(of_file(item.image_url, told, own))
        return []
    boxes = geometry.tiles(size, side)
    pictures, masks = _Shared[Picture](len(boxes)), _Shared[Mask](len(boxes))
    return [Tile(item, box, size, pictures, masks) for box in boxes]


def _image_size(item: Item) -> tuple[int, int] | None:
    """Width and height of the upright image; None if it cannot be told.

    Files are asked for their headers alone; of others all bytes are read, and none is decoded.
    """
    try:
        if not isinstance(item, ImageFile):
            return decoding.image_size(item.content(), item.reading)
        start = item.tree.read_start(item.path, HEADER_BYTES)
        size = decoding.image_size(start, item.reading)
        if size is None and len(start) == HEADER_BYTES:
            size = decoding.image_size(item.tree.read(item.path), item.reading)
    except (OSError, UnreadableImage):
        return None
    return size
