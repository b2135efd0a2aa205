"""One pass over a source: what is good in it, one image after the other, and all that is wrong.

However many images there are, only a few of them are in memory at a time. Shapes: S image size, C
channels (3 for RGB, 1 for grey).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from factory import storage
from factory.classes import MAX_CLASSES, Classes
from factory.data.classes import rule_yaml
from factory.data.classes.class_rules import ClassRules
from factory.data.files import listing
from factory.data.items import Item, Source
from factory.data.masks import losses
from factory.data.masks.losses import Losses
from factory.data.masks.mask_decoding import Mask, MaskFacts, match_size, orientation_beside
from factory.data.pixels import geometry
from factory.data.pixels.decoding import FileInfo, Picture
from factory.data.pixels.geometry import Placement
from factory.data.pixels.reading import Fit
from factory.data.surveying.mask_checks import check_masks
from factory.errors import Problems, UnreadableImage, UserError, counted
from factory.images import UInt8
from factory.processes import in_processes, num_processes
from factory.threads import NUM_THREADS, in_threads

T = TypeVar("T")
_NUM_AHEAD = 8 * NUM_THREADS
"""Images that are decoded ahead of their use."""
_ANY_IDS = ClassRules.of_positions(Classes.named([str(i) for i in range(MAX_CLASSES)]))
"""The rules by which masks are looked into whose classes cannot be read."""


@dataclass(frozen=True)
class Pair:
    """A good image of a source, and its mask."""

    name: str
    image: UInt8
    """(S, S, C), 0..255."""
    mask: UInt8 | None
    """(S, S) class ids, 255 = ignore; None if masks were not asked for."""


@dataclass(frozen=True)
class _MaskNotes:
    """What is known of a mask that fits its image, beside its ids."""

    facts: MaskFacts
    lost: Losses
    is_turned_as_its_image: bool
    """False if it is turned by its own EXIF orientation alone."""
    is_scaled: bool
    """True if it was of another size than the image, and is scaled to it."""


@dataclass(frozen=True)
class _Read(Generic[T]):
    """An item that was read; what could not be read is None, and a problem."""

    seen: T | None
    """What was made of the pair."""
    is_enlarged: bool
    info: FileInfo | None
    mask: _MaskNotes | None
    """None also if masks were not asked for."""
    problems: tuple[str, ...]


class Pass:
    """One pass over a source. What it has found is complete when `pairs` or `seen` has ended."""

    def __init__(self, source: Source, size: int, labelled: bool, channels: int = 3) -> None:
        problems = Problems()
        found = source.find(labelled, problems)
        self.items: Sequence[Item] = found.items
        """All images that there are, good or not."""
        self.classes = found.rules.classes if found.rules else None
        self.fit: Fit = found.items[0].reading.fit if found.items else "crop"
        """The way in which images become square."""
        self.num_enlarged = 0
        self.infos: dict[str, FileInfo] = {}
        """URL of an image -> the form in which it is stored, once for all of its tiles."""
        self._rules, self._notes, self._problems = found.rules, found.notes, problems
        self._size, self._channels, self._labelled = size, channels, labelled
        self._facts: dict[str, MaskFacts] = {}
        self._lost = losses.total([])
        self._turned: set[str] = set()
        self._scaled: set[str] = set()

    def pairs(self) -> Iterator[Pair]:
        """Yields what is good, in the order of the items. May be taken once."""
        return self._good(in_threads(self._reading(_as_it_is), self.items, _NUM_AHEAD))

    def seen(self, look: Callable[[Pair], T]) -> Iterator[T]:
        """Yields what a look at each good pair gives, in the order of the items; the pairs
        themselves do not leave the processes that read them. May be taken once."""
        read = self._reading(look)
        is_local = bool(self.items) and storage.is_local(self.items[0].image_url)
        if is_local and (num := num_processes(len(self.items))):
            return self._good(in_processes(read, self.items, num))
        return self._good(in_threads(read, self.items, _NUM_AHEAD))

    def again(self, item: Item, size: int) -> Pair:
        """One of the good pairs once more, size pixels high and wide. Raises UserError where it can
        no longer be read."""
        rules = (self._rules or _ANY_IDS) if self._labelled else None
        read = _read(item, size, self._channels, rules, _as_it_is)
        if read.seen is None:
            raise UserError(list(read.problems))
        return read.seen

    def _reading(self, look: Callable[[Pair], T]) -> "Callable[[Item], _Read[T]]":
        rules = (self._rules or _ANY_IDS) if self._labelled else None
        return partial(_read, size=self._size, channels=self._channels, rules=rules, look=look)

    def _good(self, all_read: "Iterator[_Read[T]]") -> Iterator[T]:
        """Yields what was made of the good pairs; the rest is added to what is told in the end."""
        for item, read in zip(self.items, all_read, strict=True):
            self._problems.found.extend(read.problems)
            if read.problems or read.seen is None or read.info is None:
                continue
            if read.mask and self._add(read.mask):
                continue  # a problem of the source, as it is the same in many masks
            self.infos.setdefault(item.image_url, read.info)
            self.num_enlarged += read.is_enlarged
            yield read.seen

    def _add(self, mask: _MaskNotes) -> bool:
        """Adds the facts of a mask; True if it holds values of no class."""
        self._facts.setdefault(mask.facts.url, mask.facts)
        if mask.is_turned_as_its_image:
            self._turned.add(mask.facts.url)
        if mask.is_scaled:
            self._scaled.add(mask.facts.url)
        if mask.facts.uncovered:
            return True
        self._lost += mask.lost
        return False

    def outcome(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The notes and the problems, a sentence or a line each, after all pairs were taken."""
        problems = Problems()
        # Those of a file are told once for all of its tiles.
        problems.found = list(dict.fromkeys(self._problems.found))
        notes = [*self._notes, *_told(self._rules)]
        notes += check_masks([*self._facts.values()], self._rules, problems)
        notes += [*_turned(len(self._turned)), *_scaled(len(self._scaled))]
        if self.classes:
            notes += losses.sentences(self._lost, self.classes.names, self._size)
        return tuple(notes), tuple(problems.found)


def read_square(item: Item, size: int, channels: int, problems: Problems) -> UInt8 | None:
    """One image as `read_images` has it, (size, size, channels); None after a problem, which is
    added."""
    with _adding(problems, item.image_url):
        picture = item.image(size)
        place = place_of(item, picture, size)
        return geometry.square_pixels(picture.with_channels(channels), size, place)
    return None


def _told(rules: ClassRules | None) -> list[str]:
    """How values became classes, a sentence, where they are not the ids of the classes."""
    return [] if rules is None or rules.are_positions else [rule_yaml.sentence(rules)]


def _turned(num: int) -> list[str]:
    """A sentence on masks that are turned though their own files do not say so."""
    if not num:
        return []
    return [
        f"{counted(num, 'mask')} without EXIF orientation: turned as the images are, since sizes "
        "agree only as the images are stored."
    ]


def _scaled(num: int) -> list[str]:
    """A sentence on masks of another size than their images."""
    if not num:
        return []
    have = counted(
        num, "mask is of another size than its image", "masks are of other sizes than their images"
    )
    return [f"{have}, in the same proportions: scaled to it."]


def _as_it_is(pair: Pair) -> Pair:
    return pair


def _read(
    item: Item, size: int, channels: int, rules: ClassRules | None, look: Callable[[Pair], T]
) -> _Read[T]:
    """Reads an item, with its mask unless rules is None, and looks at it if it is good."""
    problems = Problems()
    picture = image = mask = notes = seen = None
    is_enlarged = False
    with _adding(problems, item.image_url):
        picture = item.image(size)
        place = place_of(item, picture, size)
        is_enlarged = place.target.width > place.source.width
        image = geometry.square_pixels(picture.with_channels(channels), size, place)
    if rules is not None:
        assert item.mask_url is not None, "masks were asked for"
        with _adding(problems, item.mask_url):
            mask, notes = _decode_mask(item, item.mask(size, rules), picture, size)
    if image is not None and not problems.found:
        seen = look(Pair(item.name, image, mask))
    info = picture.info if picture else None
    return _Read(seen, is_enlarged, info, notes, tuple(problems.found))


def place_of(item: Item, picture: Picture, size: int) -> Placement:
    """The part of an item's image that is used, and its place in the square.

    Raises UnreadableImage for an image that was to be cut into tiles, and is not.
    """
    check_is_cut(item)
    return geometry.placement(picture.image.size, size, item.reading.fit, item.tile)


def check_is_cut(item: Item) -> None:
    """Raises UnreadableImage for an image that was to be cut into tiles, and is not."""
    if item.reading.fit == "tile" and item.tile is None:
        raise UnreadableImage(
            "its header does not tell its size, which cutting it into tiles needs. Set another "
            "fit, such as fit: pad, or save it again."
        )


@dataclass(frozen=True)
class WholeMask:
    """A mask in register with its image."""

    ids: UInt8
    """(H, W) class ids, 255 = ignore, of the upright image's size."""
    facts: MaskFacts
    is_turned_as_its_image: bool
    """False if it is turned by its own EXIF orientation alone."""
    is_scaled: bool
    """True if it was of another size than the image, and is scaled to it."""


def whole_mask(item: Item, mask: Mask, picture: Picture) -> WholeMask:
    """A mask that was read, upright and at the size of its image.

    Raises UnreadableImage, with a message that continues the mask's URL, for one that cannot be of
    this image.
    """
    if mask.data and mask.data == picture.data:
        raise UnreadableImage(
            "is the same file as its image. Name the folder of the masks in `masks:`."
        )
    orientation = orientation_beside(mask, picture, item.reading.exif)
    ids, is_scaled = match_size(mask, picture, orientation)
    facts = MaskFacts(
        item.mask_url or item.name,
        mask.info.mode,
        mask.values,
        mask.uncovered,
        mask.colors,
        mask.is_inverted,
        mask.num_missing,
        mask.is_transparent,
        sum(mask.nearest.values()),
        ids.size,
    )
    turned_as_image = item.reading.exif == "apply" and orientation != mask.info.orientation
    return WholeMask(ids, facts, turned_as_image, mask.is_scaled or is_scaled)


def _decode_mask(
    item: Item, mask: Mask, picture: Picture | None, size: int
) -> tuple[UInt8 | None, _MaskNotes | None]:
    """The ids (S, S) of a mask beside its image; None if that could not be read.

    Raises UnreadableImage.
    """
    if picture is None:
        return None, None
    whole = whole_mask(item, mask, picture)
    place = place_of(item, picture, size)
    scaled = geometry.scaled_ids(whole.ids, place)
    used = whole.ids[place.source.slices]
    lost = losses.measure(used if item.tile else whole.ids, used, scaled)
    notes = _MaskNotes(whole.facts, lost, whole.is_turned_as_its_image, whole.is_scaled)
    return geometry.square_ids(scaled.ids, size, place), notes


@contextmanager
def _adding(problems: Problems, url: str) -> Iterator[None]:
    """Adds what the bytes of a file can do wrong to problems."""
    try:
        yield
    except UnreadableImage as error:
        problems.add(error.of(url))
    except OSError as error:
        problems.add(listing.cannot_read(url, error))
