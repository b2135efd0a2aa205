"""What lies at one of the places that a new config is written for."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from PIL import Image

from factory import images, storage
from factory.data.classes.class_rules import ClassRules
from factory.data.drawn.items import DrawnItem
from factory.data.files.split_words import TEST_SPLITS, TRAIN_SPLITS
from factory.data.files.trees import FolderTree, Tree
from factory.data.items import ImageFile, Item
from factory.data.kinds import choosing, resolving
from factory.data.masks import mask_decoding
from factory.data.pixels import decoding, deep_colors
from factory.data.pixels.intensity import Range
from factory.data.pixels.reading import Frames, Reading
from factory.data.recognizing.candidates import Candidate
from factory.errors import Problems, SeveralFrames, UnreadableImage
from factory.new_config.intensities import Values, most_of
from factory.threads import NUM_THREADS

NUM_IMAGES = 200
"""The most images of a place that are looked into."""
_MAX_OF_OTHER_BITS = 24
"""The most further images that are looked into, as they have other bits."""
_NUM_COLORS = 24
"""The most of them whose pixels are compared, of those that are not stored as grey."""
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")
"""Pillow's modes of 8 bits a channel, as which it opens colours of 16 bits, too."""
_GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "F")
_SHARDS = ("parquet", "webdataset")


@dataclass(frozen=True)
class Place:
    """A folder, archive or URL, and the section that reads it."""

    url: str
    tree: Tree = field(repr=False)
    candidate: Candidate
    why_no_masks: str = ""
    """Why no masks are found in shards that hold images; empty where they are, and elsewhere."""

    @property
    def train_split(self) -> str | None:
        """The split to learn from, if there are any."""
        return _first(TRAIN_SPLITS, self.candidate.splits)

    @property
    def test_split(self) -> str | None:
        """The split to measure on, if there is one."""
        return _first(TEST_SPLITS, self.candidate.splits)


@dataclass(frozen=True)
class Images:
    """How images of a section are stored, by some of them."""

    num: int
    sizes: Sequence[tuple[int, int]]
    """Width and height of each that was looked into."""
    num_looked: int = 0
    """The number of images that were looked into."""
    values: Sequence[Values] = ()
    """The stored values of each of them."""
    are_grey: bool = False
    """True if none of them has a colour."""
    have_frames: bool = False
    """True if some files hold several pictures, of which one can be read."""

    @property
    def shorter_side(self) -> int:
        """The median of the shorter sides, in pixels."""
        sides = sorted(min(size) for size in self.sizes)
        return sides[len(sides) // 2] if sides else 0


def look_at(url: str, problems: Problems) -> list[Place]:
    """What lies at a place: one section, or several where nothing tells which is meant. Problems
    are added."""
    recognised = choosing.recognise(url, problems)
    if recognised is None:
        return []
    tree, candidates = recognised
    return [_known(Place(url, tree, candidate)) for candidate in candidates]


def _known(place: Place) -> Place:
    """The place, after a look into shards: nothing else tells whether they hold masks."""
    candidate = place.candidate
    if candidate.keys["kind"] not in _SHARDS:
        return place
    keys = candidate.of_split(place.train_split or _first(candidate.splits, candidate.splits))
    section, found = resolving.section(keys, with_any_classes=True), Problems()
    if section.find(True, found).items or not section.find(False, Problems()).items:
        return place
    return replace(
        place, candidate=replace(candidate, has_masks=False), why_no_masks=found.found[0]
    )


def images_of(items: Sequence[Item]) -> Images:
    """How the images of a section are stored. Raises OSError."""
    chosen = items[:: max(1, -(-len(items) // NUM_IMAGES))]
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        chosen = [*chosen, *_of_other_bits(items, chosen, pool)]
        looked = list(pool.map(_stored, chosen))
        found = [stored for stored in looked if stored is not None]
        pairs = zip(chosen, looked, strict=True)
        colored = [item for item, stored in pairs if stored and not stored.is_grey]
        few = colored[:: max(1, -(-len(colored) // _NUM_COLORS))]
        greys = {*pool.map(_is_grey, few)} - {None}
    are_grey = bool(found) and False not in greys and (bool(greys) or not few)
    have_frames = any(one.frames == "first" for one in found)
    values = [
        Values(item, stored.range, stored.is_lost)
        for item, stored in zip(chosen, looked, strict=True)
        if stored is not None
    ]
    sizes = [one.size for one in found]
    return Images(len(items), sizes, len(chosen), values, are_grey, have_frames)


def _of_other_bits(
    items: Sequence[Item], chosen: Sequence[Item], pool: ThreadPoolExecutor
) -> list[Item]:
    """A few PNG files of this machine that have another number of bits than those that were chosen:
    one of them decides how all are read, and their first bytes tell it. Raises OSError."""
    if len(chosen) == len(items):
        return []
    files: list[ImageFile] = [
        item
        for item in items
        if isinstance(item, ImageFile)
        and item.path.lower().endswith(".png")
        and isinstance(item.tree, FolderTree)
        and storage.is_local(item.image_url)
    ]
    bits = dict(zip((item.name for item in files), pool.map(_bits, files), strict=True))
    known = {bits.get(item.name) for item in chosen} | {None}
    others: list[Item] = [item for item in files if bits[item.name] not in known]
    return others[:_MAX_OF_OTHER_BITS]


def _bits(file: ImageFile) -> int | None:
    """The bits of a channel of a PNG file; None of what is none, or cannot be read."""
    start = b""
    with _left_to_inspect():
        start = file.tree.read_start(file.path, deep_colors.DEPTH_AT + 1)
    is_png = len(start) > deep_colors.DEPTH_AT and start[1:4] == b"PNG"
    return start[deep_colors.DEPTH_AT] if is_png else None


@contextmanager
def _left_to_inspect() -> Iterator[None]:
    """Passes over what cannot be read, which `factory inspect` tells; raises OSError of what may be
    read later."""
    try:
        yield
    except UnreadableImage:
        pass
    except OSError as error:
        if storage.is_transient(error):
            raise


class _Stored(NamedTuple):
    """How an image is stored."""

    size: tuple[int, int]
    mode: str
    frames: Frames = "refuse"
    """`first` if its file holds several pictures, of which the first alone is read."""
    range: Range | None = None
    """The range of its values, if they have more than 8 bits."""
    is_lost: bool = False
    """True if it is not read without a range."""

    @property
    def is_grey(self) -> bool:
        return self.mode in _GREY_MODES


def _stored(item: Item) -> _Stored | None:
    """How an image is stored; None if it cannot be read, which `factory inspect` tells."""
    stored = None
    with _left_to_inspect():
        stored = _of_file(item.content())
    return stored


def _of_file(data: bytes) -> _Stored:
    """The same of a file, whose pixels are decoded only where they have more than 8 bits."""
    frames: Frames = "refuse"
    has_deep_colors = False
    try:
        with Image.open(io.BytesIO(data), formats=images.READABLE_FORMATS) as image:
            frames = "first" if _has_frames(image) else "refuse"
            has_deep_colors = deep_colors.are_in(image, data)
            if image.mode in _MODES and not has_deep_colors:
                return _Stored(image.size, image.mode, frames)
    except images.OF_DAMAGE:
        pass  # A file of numpy's, or one that the decoder refuses with its reason.
    try:
        info = decoding.decode_image(data, Reading(frames=frames)).info
        below = (0.0, info.brightest * 256.0 + 255)  # Of colours the upper 8 bits are known.
        return _Stored(info.size, info.mode, frames, below if has_deep_colors else info.stored)
    except UnreadableImage:
        way = Reading(intensity="percentiles", frames=frames)
        info = decoding.decode_image(data, way).info
        values = most_of(info.stored, info.window)
        return _Stored(info.size, info.mode, frames, values, is_lost=True)


def _has_frames(image: Image.Image) -> bool:
    """True of an animation, or a file of several pages."""
    try:
        images.check_header(image)
    except SeveralFrames:
        return True
    return False


def _is_grey(item: Item) -> bool | None:
    """True if red, green and blue of an image are equal; None if it cannot be read."""
    if isinstance(item, ImageFile):
        item = replace(item, reading=replace(item.reading, frames="first"))
    try:
        red, green, blue = item.image(64).image.split()
    except UnreadableImage:
        return None
    return red.tobytes() == green.tobytes() == blue.tobytes()


def are_turned_apart(items: Sequence[Item], rules: ClassRules) -> bool:
    """True if images are stored turned, their masks are not, and sizes tell nothing: then only
    people can know whether masks lie on the stored pixels. Raises OSError."""
    for item in items[:: max(1, -(-len(items) // NUM_IMAGES))]:
        if not isinstance(item, ImageFile | DrawnItem):
            continue
        if not item.path.lower().endswith((".jpg", ".jpeg")):
            continue
        try:
            picture = item.image(64)
            if picture.info.orientation == decoding.UPRIGHT:
                continue
            mask = item.mask(64, rules)
        except UnreadableImage:
            continue
        try:
            mask_decoding.orientation_beside(mask, picture, "apply")
        except UnreadableImage:
            return True
    return False


def stands_for(section: Mapping[str, Any], labelled: bool, problems: Problems) -> Sequence[Item]:
    """The items of a section. Problems are added."""
    found = resolving.section(section, with_any_classes=not labelled).find(labelled, problems)
    return found.items


def _first(names: Iterable[str], known: Mapping[str, object]) -> str | None:
    return next((name for name in names if name in known), None)
