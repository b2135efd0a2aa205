"""The images of a source that a dataset labels: proven by its listing, read by their rows.

Shapes: S image size; H, W height and width of an image.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Literal, Protocol

import numpy as np
from PIL import Image

from factory.config import Config, required
from factory.data import tiles
from factory.data.classes.class_rules import ClassRules
from factory.data.items import Found, Item, Source
from factory.data.loading import first_lines
from factory.data.passes import check_is_cut, place_of, whole_mask
from factory.data.pixels import geometry, intact
from factory.data.pixels.decoding import Picture
from factory.data.pixels.geometry import Placement
from factory.errors import ChangedSource, Problems, UnreadableImage, UserError
from factory.images import UInt8
from factory.shards.source_listing import SourceListing
from factory.threads import NUM_THREADS, ahead

REMEDY = "Put back what was there, or label into another --out."

_OTHER_PLACE = "Replace it, and label into another --out."
_WITHOUT_IT = (
    "Label into another --out: it is named there before anything starts, and left out with "
    "label.unreadable: skip. Or replace it before."
)


@dataclass(frozen=True, eq=False)
class SourceImage:
    """An image that is to be labelled."""

    name: str
    squares: Sequence[UInt8]
    """(S, S, 3) RGB or (S, S, 1) grey each, as the network takes them: one, or one of each tile."""
    places: Sequence[Placement]
    """The place of each square in the image."""
    whole: Image.Image | None = None
    """All of the image, upright, of mode RGB or L; None where it is not wanted."""
    seed: int | None = None
    """The random stream that drew it; None for an image of one's own."""
    truth: UInt8 | None = None
    """The source's own mask, class ids, 255 = ignore: (H, W) beside `whole`, else (S, S); None
    where it is not compared."""

    @property
    def pixels(self) -> UInt8:
        """The image as a row of a dataset has it: (H, W, C) of `whole`, else its square."""
        return self.squares[0] if self.whole is None else np.atleast_3d(np.asarray(self.whole))


class Images(Protocol):
    """Images that are labelled, by the numbers of their rows."""

    def read(self, start: int, stop: int) -> Iterator[SourceImage]:
        """Yields the images start..stop-1 in order; those that come next are read meanwhile."""

    def read_row(self, row: int, name: str) -> SourceImage:
        """The image of one row. name: of the image in its source, empty if it has none."""


@dataclass(frozen=True)
class SourceFile:
    """An image of a source, before it is read: one item, or its tiles."""

    items: Sequence[Item]

    @property
    def whole(self) -> Item:
        """The item of which all are tiles, or the only one."""
        return tiles.wholes(self.items[:1])[0]

    @property
    def name(self) -> str:
        """The name of the image."""
        return self.whole.name

    @property
    def image_url(self) -> str:
        """The place of the image, as messages name it."""
        return self.items[0].image_url

    @property
    def mask_url(self) -> str:
        """The place of the mask, as messages name it."""
        return self.items[0].mask_url or self.name


def find_files(
    config: Config, labelled: bool = False, some_may_lack: bool = False
) -> tuple[Found, Sequence[SourceFile]]:
    """What label.source holds, and its images; see `files_of`."""
    return files_of(required(config, "label.source"), labelled, some_may_lack)


def files_of(
    source: Source, labelled: bool = False, some_may_lack: bool = False
) -> tuple[Found, Sequence[SourceFile]]:
    """What a source holds, and its images, none of them read; with their masks if labelled.

    some_may_lack: some images are enough. Raises UserError with all problems.
    """
    problems = Problems()
    found = source.find(labelled, problems)
    if not (some_may_lack and found.items):
        problems.raise_if_any()
    by_image = groupby(found.items, key=lambda item: item.image_url)
    return found, [SourceFile(list(items)) for _, items in by_image]


def check_texts(files: Sequence[SourceFile]) -> None:
    """Raises UserError for images whose names are no UTF-8, which no table can hold."""
    refuse(
        [
            f"{file.image_url}: its name is no UTF-8, so that its labels could not name it. Rename "
            "it."
            for file in files
            if not _is_text(file.name)
        ]
    )


def _is_text(name: str) -> bool:
    """False of names in which bytes that are no UTF-8 stand as surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def check_names(url: str, files: Sequence[SourceFile], known: SourceListing) -> None:
    """Raises UserError where other images are there than those of a dataset's listing.

    url: that of the dataset.
    """
    names = [file.name for file in files]
    urls = dict(zip(known.names, known.urls, strict=True))
    there = set(names)
    wanted = [name for name in known.names if name not in known.left_out]
    missing = [urls[name] for name in wanted if name not in there]
    lines = [f"{each}: is gone, and {url} was begun with it. {REMEDY}" for each in missing]
    added = [name for name in names if name not in urls]
    lines += [f"{name}: is new since {url} was begun. {REMEDY}" for name in added]
    refuse(lines)


def refuse(lines: Sequence[str]) -> None:
    """Raises UserError with the lines, if there are any."""
    if lines:
        raise UserError(first_lines(lines))


def sha256_of(data: bytes) -> str:
    """The sha256 as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_ids(ids: UInt8) -> str:
    """The sha256 of a mask's class ids (H, W), and of its size."""
    found = hashlib.sha256(f"{ids.shape[0]} {ids.shape[1]}\n".encode())
    found.update(np.ascontiguousarray(ids).data)
    return found.hexdigest()


@dataclass(frozen=True)
class SourceImages:
    """The images of label.source, which are those of a listing, as rows of a dataset."""

    files: Mapping[int, SourceFile]
    """Place in the listing -> the image, of those that have a row."""
    rows: Sequence[tuple[int, Sequence[Item]]]
    """For each row the place of its image, and its items: all of the image, or one of its tiles."""
    listing: SourceListing
    image_size: int
    """The height and width that the network takes, in pixels."""
    channels: int
    """The channels that it takes: 3 for RGB, 1 for grey."""
    at: Literal["model", "original"]
    rules: ClassRules | None = None
    """Which values of the masks are which class; None where masks are not read."""

    @classmethod
    def open(
        cls,
        config: Config,
        listing: SourceListing,
        image_size: int,
        channels: int,
        at: Literal["model", "original"],
        some_may_lack: bool = False,
    ) -> "SourceImages":
        """Lists the source. Raises UserError if it has other images than the listing.

        some_may_lack: images may be gone, or be new, so that only `read_row` finds the right ones.
        """
        labelled = listing.truth_sha256s is not None
        found, files = find_files(config, labelled, some_may_lack)
        if not some_may_lack:
            check_names(config.label.url, files, listing)
        place_of = {name: i for i, name in enumerate(listing.names)}
        known = [f for f in files if f.name in place_of and f.name not in listing.left_out]
        kept = {place_of[file.name]: file for file in known}
        rows: list[tuple[int, Sequence[Item]]] = []
        for i, file in kept.items():
            rows += [(i, file.items)] if at == "original" else [(i, [each]) for each in file.items]
        return cls(kept, rows, listing, image_size, channels, at, found.rules)

    def read(self, start: int, stop: int) -> Iterator[SourceImage]:
        """Yields the images of the rows start..stop-1; threads read those that come next.

        Raises ChangedSource, OSError, UnreadableImage, each of which names the image.
        """
        # Whole images are large; squares are not, and a batch of them is wanted at once.
        num_ahead = NUM_THREADS * (2 if self.at == "original" else 32)
        with ThreadPoolExecutor(NUM_THREADS, "reader") as pool:
            yield from ahead(pool, self._row, self.rows[start:stop], num_ahead)

    def read_row(self, row: int, name: str) -> SourceImage:
        """The image of the row of this name. Raises as `read` does."""
        if name in self._row_of:
            return self._row(self.rows[self._row_of[name]])
        # The name of a tile ends with its place.
        names = {name, name.rpartition("@")[0]}
        url, is_gone = next(
            (url, i not in self.files)
            for i, (each, url) in enumerate(zip(self.listing.names, self.listing.urls, strict=True))
            if each in names
        )
        raise _gone(url) if is_gone else _changed(url)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        """The name of a row -> its place in `rows`."""
        is_whole = self.at == "original"
        return {
            self.files[number].name if is_whole else items[0].name: row
            for row, (number, items) in enumerate(self.rows)
        }

    def _row(self, row: tuple[int, Sequence[Item]]) -> SourceImage:
        number, items = row
        file, size = self.files[number], self.image_size
        try:
            pictures = [item.image(size) for item in items]
            if not self._is_known(number, pictures[0].data or items[0].content()):
                raise _changed(file.image_url)
            places = [
                place_of(item, picture, size) for item, picture in zip(items, pictures, strict=True)
            ]
        except FileNotFoundError:
            raise _gone(file.image_url) from None
        except UnreadableImage as error:
            raise self._told(number, items[0], error) from None
        ids = self._ids(number, items, pictures[0])
        image = pictures[0].with_channels(self.channels)
        squares = [geometry.square_pixels(image, size, place) for place in places]
        if self.at == "original":
            return SourceImage(file.name, squares, places, image, truth=ids)
        (place,) = places
        if ids is not None:
            ids = geometry.square_ids(geometry.scaled_ids(ids, place).ids, size, place)
        return SourceImage(items[0].name, squares, places, truth=ids)

    def _told(
        self, number: int, item: Item, error: UnreadableImage
    ) -> ChangedSource | UnreadableImage:
        """The error of an image that cannot be decoded: that it changed, if it did. Raises
        OSError."""
        url = self.files[number].image_url
        try:
            data = item.content()
        except FileNotFoundError:
            return _gone(url)
        except UnreadableImage:
            return _changed(url)  # Its bytes were read when the dataset was begun.
        if not self._is_known(number, data):
            return _changed(url)
        advice = _WITHOUT_IT if _is_known_to_be_bad(data, item) else _OTHER_PLACE
        return UnreadableImage(f"{url}: {error} {advice}")

    def _is_known(self, number: int, data: bytes) -> bool:
        """True if these are the bytes that the image had when the dataset was begun."""
        return sha256_of(data) == self.listing.sha256s[number]

    def _ids(self, number: int, items: Sequence[Item], picture: Picture) -> UInt8 | None:
        """(H, W): the mask of an image whose items were just read; None where it is not compared.

        Raises ChangedSource if it is not that of the listing, OSError.
        """
        if self.rules is None or self.listing.truth_sha256s is None:
            return None
        url = self.files[number].mask_url
        try:
            # Of all items: a tile lets go of the whole mask when each of them was read.
            masks = [item.mask(self.image_size, self.rules) for item in items]
            ids = whole_mask(items[0], masks[0], picture).ids
        except FileNotFoundError:
            raise _gone(url) from None
        except UnreadableImage:
            raise _changed(url) from None
        if sha256_of_ids(ids) != self.listing.truth_sha256s[number]:
            raise _changed(url)
        return ids


def _is_known_to_be_bad(data: bytes, item: Item) -> bool:
    """True if the check of a dataset that is begun finds that an image cannot be read."""
    try:
        intact.check_image(data, item.reading)
        check_is_cut(item)
    except UnreadableImage:
        return True
    return False


def _gone(url: str) -> ChangedSource:
    return ChangedSource(f"{url}: is gone. {REMEDY}")


def _changed(url: str) -> ChangedSource:
    return ChangedSource(f"{url}: has changed since the dataset was begun. {REMEDY}")
