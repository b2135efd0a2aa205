"""All of a source as arrays of one size: images, and images beside masks.

Everything wrong in a source is found in one pass, a line per offending file. `load` returns what is
good together with the problems, for `inspection`; `read_images` and `read_labelled` refuse.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from factory import storage
from factory.classes import MAX_CLASSES, Classes
from factory.data import geometry, losses, rule_yaml
from factory.data.class_rules import ClassRules
from factory.data.decoding import FileInfo, Picture
from factory.data.geometry import Placement
from factory.data.items import Item, Source
from factory.data.losses import Losses
from factory.data.mask_checks import check_masks
from factory.data.masks import Mask, MaskFacts, match_size, orientation_beside
from factory.data.reading import Fit
from factory.errors import Problems, UnreadableImage, UserError, counted, shown
from factory.images import UInt8

MAX_LINES = 50
NUM_THREADS = 8
_ANY_IDS = ClassRules.of_positions(Classes.named([str(i) for i in range(MAX_CLASSES)]))
"""The rules by which masks are looked into whose classes cannot be read."""


@dataclass(frozen=True)
class Labelled:
    """Images with masks, N of them, S pixels high and wide."""

    images: UInt8
    """(N, S, S, 3), 0..255."""
    masks: UInt8
    """(N, S, S) class ids, 255 = ignore."""
    names: tuple[str, ...]
    """File names, sorted; toy-{seed}-{index} of drawings."""
    classes: Classes
    notes: tuple[str, ...] = ()
    """Sentences on what is lost or left out, as in `LoadedSource.notes`."""

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        images, classes = counted(len(self), "image"), len(self.classes)
        return f"Labelled({images} of {self.images.shape[1]} px, {classes} classes)"


@dataclass(frozen=True)
class LoadedSource:
    """The good part of a source, and all that is wrong with the rest."""

    images: UInt8
    """(N, S, S, 3), 0..255."""
    masks: UInt8 | None
    """(N, S, S) class ids, 255 = ignore; None if only images were asked for."""
    names: tuple[str, ...]
    classes: Classes | None
    infos: tuple[FileInfo, ...]
    """The form in which each image was stored, once for all of its tiles."""
    problems: tuple[str, ...]
    fit: Fit = "crop"
    """The way in which images became square."""
    num_enlarged: int = 0
    notes: tuple[str, ...] = ()
    """Sentences on what is no mistake but must be known wherever the source is used: files that are
    not read, pixels and regions that are lost, ids that may be meant otherwise."""

    @property
    def labelled(self) -> Labelled:
        """The images with masks, which were asked for and have classes.

        Raises UserError with a line per problem of the source.
        """
        if self.problems:
            raise UserError(first_lines(self.problems))
        assert self.masks is not None and self.classes is not None
        return Labelled(self.images, self.masks, self.names, self.classes, self.notes)


@dataclass(frozen=True)
class _DecodedMask:
    """A mask that fits its image."""

    ids: UInt8
    """(S, S) class ids, 255 = ignore."""
    facts: MaskFacts
    lost: Losses
    is_turned_as_its_image: bool
    """False if it is turned by its own EXIF orientation alone."""


@dataclass(frozen=True)
class _Decoded:
    """An item that was read; what could not be read is None, and a problem."""

    item: Item
    image: UInt8 | None
    """(S, S, 3), 0..255."""
    is_enlarged: bool
    info: FileInfo | None
    mask: _DecodedMask | None
    """None also if masks were not asked for."""
    problems: tuple[str, ...]


def read_images(source: Source, size: int) -> UInt8:
    """All images of a source, (N, size, size, 3), sorted by name.

    Raises UserError with a line per offending file.
    """
    loaded = load(source, size, labelled=False)
    if loaded.problems:
        raise UserError(first_lines(loaded.problems))
    return loaded.images


def read_labelled(source: Source, size: int) -> Labelled:
    """All images of a source with their masks, sorted by name.

    Raises UserError with a line per offending file.
    """
    return load(source, size, labelled=True).labelled


def read_square(item: Item, size: int, problems: Problems) -> UInt8 | None:
    """One image as `read_images` has it, (size, size, 3); None after a problem, which is added."""
    with _adding(problems, item.image_url):
        picture = item.image(size)
        return geometry.square_rgb(picture.image, size, place_of(item, picture, size))
    return None


def first_lines(problems: Sequence[str]) -> list[str]:
    """Returns as many problems as people read at once, and how many more there are."""
    rest = len(problems) - MAX_LINES
    lines = [*problems[:MAX_LINES], *([f"... and {rest} more."] if rest > 0 else [])]
    # File names need not be text that a terminal can show, and may have line ends.
    return [shown(line) for line in lines]


def load(source: Source, size: int, labelled: bool) -> LoadedSource:
    """Reads and checks a whole source: what is good in it, and every problem found."""
    problems = Problems()
    found = source.find(labelled, problems)
    rules, num = found.rules, len(found.items)
    classes = rules.classes if rules else None
    applied = (rules or _ANY_IDS) if labelled else None
    images = np.zeros((num, size, size, 3), np.uint8)
    masks = np.zeros((num if labelled else 0, size, size), np.uint8)
    names: list[str] = []
    infos: dict[str, FileInfo] = {}
    facts: dict[str, _DecodedMask] = {}
    lost: list[Losses] = []
    num_enlarged = 0
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        for read in pool.map(lambda item: _decode(item, size, applied), found.items):
            problems.found.extend(read.problems)
            if read.problems or read.image is None or read.info is None:
                continue
            if read.mask:
                facts.setdefault(read.mask.facts.url, read.mask)
                if read.mask.facts.uncovered:
                    continue  # a problem of the source, as it is the same in many masks
                masks[len(names)] = read.mask.ids
                lost.append(read.mask.lost)
            images[len(names)] = read.image
            names.append(read.item.name)
            infos.setdefault(read.item.image_url, read.info)
            num_enlarged += read.is_enlarged
    problems.found[:] = dict.fromkeys(problems.found)  # those of a file, once for all of its tiles
    every = [mask.facts for mask in facts.values()]
    notes = [*found.notes, *_told(rules), *check_masks(every, rules, problems)]
    notes += _turned(facts.values())
    if classes:
        notes += losses.sentences(losses.total(lost), classes.names, size)
    return LoadedSource(
        images=images[: len(names)],
        masks=masks[: len(names)] if labelled else None,
        names=tuple(names),
        classes=classes,
        infos=tuple(infos.values()),
        problems=tuple(problems.found),
        fit=found.items[0].reading.fit if found.items else "crop",
        num_enlarged=num_enlarged,
        notes=tuple(notes),
    )


def _told(rules: ClassRules | None) -> list[str]:
    """How values became classes, a sentence, where they are not the ids of the classes."""
    return [] if rules is None or rules.are_positions else [rule_yaml.sentence(rules)]


def _turned(masks: Iterable[_DecodedMask]) -> list[str]:
    """A sentence on masks that are turned though their own files do not say so."""
    if not (num := sum(mask.is_turned_as_its_image for mask in masks)):
        return []
    return [
        f"{counted(num, 'mask')} without EXIF orientation: turned as the images are, since sizes "
        "agree only as the images are stored."
    ]


def _decode(item: Item, size: int, rules: ClassRules | None) -> _Decoded:
    """Reads an item, with its mask unless rules is None."""
    problems = Problems()
    picture = image = mask = None
    is_enlarged = False
    with _adding(problems, item.image_url):
        picture = item.image(size)
        place = place_of(item, picture, size)
        is_enlarged = place.target.width > place.source.width
        image = geometry.square_rgb(picture.image, size, place)
    if rules is not None:
        assert item.mask_url is not None, "masks were asked for"
        with _adding(problems, item.mask_url):
            mask = _decode_mask(item, item.mask(size, rules), picture, size)
    info = picture.info if picture else None
    return _Decoded(item, image, is_enlarged, info, mask, tuple(problems.found))


def place_of(item: Item, picture: Picture, size: int) -> Placement:
    """The part of an item's image that is used, and its place in the square.

    Raises UnreadableImage for an image that was to be cut into tiles, and is not.
    """
    fit, tile = item.reading.fit, item.tile
    if fit == "tile" and tile is None:
        raise UnreadableImage(
            "its header does not tell its size, which cutting it into tiles needs."
        )
    return geometry.placement(picture.image.size, size, fit, tile)


def _decode_mask(item: Item, mask: Mask, picture: Picture | None, size: int) -> _DecodedMask | None:
    """A mask beside its image; None if that could not be read. Raises UnreadableImage."""
    if picture is None:
        return None
    if mask.data and mask.data == picture.data:
        raise UnreadableImage(
            "is the same file as its image. Name the folder of the masks in `masks:`."
        )
    orientation = orientation_beside(mask, picture, item.reading.exif)
    ids = np.asarray(match_size(mask, picture, orientation))
    url = item.mask_url or item.name
    facts = MaskFacts(url, mask.info.mode, mask.values, mask.uncovered, mask.colors)
    place = place_of(item, picture, size)
    scaled = geometry.scaled_ids(ids, place)
    used = ids[place.source.slices]
    lost = losses.measure(used if item.tile else ids, used, scaled)
    turned_as_image = item.reading.exif == "apply" and orientation != mask.info.orientation
    return _DecodedMask(geometry.square_ids(scaled.ids, size, place), facts, lost, turned_as_image)


@contextmanager
def _adding(problems: Problems, url: str) -> Iterator[None]:
    """Adds what the bytes of a file can do wrong to problems."""
    try:
        yield
    except UnreadableImage as error:
        problems.add(f"{url}: {error}")
    except OSError as error:
        problems.add(f"{url}: cannot be read ({storage.describe(error)}). Restore or remove it.")
