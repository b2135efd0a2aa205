"""The images that are labelled: which they are, whether they are those of the plan, their pixels.

Shapes: S image size.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, TypeVar

from PIL import Image

from factory import storage
from factory.config import Config, required
from factory.data import geometry, tiles
from factory.data.geometry import Placement
from factory.data.items import Item, StoredSource
from factory.data.loading import first_lines
from factory.data.passes import place_of
from factory.data.reading import DEFAULT_READING, Reading
from factory.errors import ChangedSource, Problems, UnreadableImage, UserError, counted, shown
from factory.images import UInt8
from factory.progress import tell, tracked
from factory.shards.source_listing import SourceListing

NUM_THREADS = 8
"""Images are read, hashed and decoded by so many threads."""
_REMEDY = "Put back what was there, or label into another --out."

T = TypeVar("T")
R = TypeVar("R")


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


def find_files(config: Config) -> tuple[StoredSource, Sequence[SourceFile]]:
    """The source of label.source and its images, none of them read.

    Raises UserError with all problems.
    """
    source: StoredSource = required(config, "label.source")
    problems = Problems()
    found = source.find(False, problems)
    problems.raise_if_any()
    for note in found.notes:
        tell(f"label | {shown(note)}")
    by_image = groupby(found.items, key=lambda item: item.image_url)
    return source, [SourceFile(list(items)) for _, items in by_image]


@dataclass(frozen=True)
class Listed:
    """The images of a source before any is read, and how they are read."""

    listing: SourceListing
    reading: Reading
    rows: Sequence[str]
    """The names of the dataset's rows: of the images, or, at the model's size, of their tiles."""


def list_source(config: Config, known: SourceListing | None) -> Listed:
    """The images of label.source with the hashes of their bytes.

    known: the listing of the dataset that lies at label.url; images that were not written since are
    not hashed again. Raises UserError, which names all images that are not those of the known
    listing, or cannot be read.
    """
    source, files = find_files(config)
    if known is not None:
        _check_names(config.label.url, files, known)
    reading = files[0].items[0].reading if files else DEFAULT_READING
    rows = [item.name for file in files for item in file.items]
    if config.label.at == "original":
        rows = [file.name for file in files]
    versions = list(source.versions([file.whole for file in files]))
    to_hash = [
        i
        for i, version in enumerate(versions)
        if known is None or not version or version != known.versions[i]
    ]
    hashes = _hashes([files[i] for i in to_hash])
    if known is None:
        names, urls = [file.name for file in files], [file.image_url for file in files]
        return Listed(SourceListing(names, urls, versions, hashes), reading, rows)
    changed = [
        files[i].image_url
        for i, sha256 in zip(to_hash, hashes, strict=True)
        if sha256 != known.sha256s[i]
    ]
    _refuse([f"{u}: has changed since {config.label.url} was begun. {_REMEDY}" for u in changed])
    return Listed(known, reading, rows)


def _check_names(url: str, files: Sequence[SourceFile], known: SourceListing) -> None:
    """Raises UserError where other images are there than those of a listing."""
    names = [file.name for file in files]
    urls = dict(zip(known.names, known.urls, strict=True))
    there = set(names)
    missing = [urls[name] for name in known.names if name not in there]
    lines = [f"{each}: is gone, and {url} was begun with it. {_REMEDY}" for each in missing]
    added = [name for name in names if name not in urls]
    lines += [f"{name}: is new since {url} was begun. {_REMEDY}" for name in added]
    _refuse(lines)


def _hashes(files: Sequence[SourceFile]) -> list[str]:
    """The sha256 of each image's bytes. Raises UserError with a line per unreadable image."""
    problems, hashes = Problems(), []
    if len(files) > 1:
        tell(f"label | hashing {counted(len(files), 'image')}")
    with ThreadPoolExecutor(NUM_THREADS, "hasher") as pool:
        hashed = ahead(pool, _hash, files, NUM_THREADS * 4)
        for found in tracked(hashed, "hashing", len(files), "images"):
            if isinstance(found, UserError):
                problems.add(str(found))
            else:
                hashes.append(found)
    _refuse(problems.found)
    return hashes


def _refuse(lines: Sequence[str]) -> None:
    """Raises UserError with the lines, if there are any."""
    if lines:
        raise UserError(first_lines(lines))


def _hash(file: SourceFile) -> str | UserError:
    try:
        return sha256_of(file.items[0].content())
    except UnreadableImage as error:
        return UserError(f"{file.image_url}: {error}")
    except OSError as error:
        return UserError(f"{file.image_url}: cannot be read ({storage.describe(error)}).")


def sha256_of(data: bytes) -> str:
    """The sha256 as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class SourceImages:
    """The images of label.source, which are those of a listing, as rows of a dataset."""

    files: Sequence[SourceFile]
    rows: Sequence[tuple[int, Sequence[Item]]]
    """For each row the number of its file, and its items: all of the file, or one of its tiles."""
    listing: SourceListing
    image_size: int
    """The height and width that the network takes, in pixels."""
    channels: int
    """The channels that it takes: 3 for RGB, 1 for grey."""
    at: Literal["model", "original"]

    @classmethod
    def open(
        cls,
        config: Config,
        listing: SourceListing,
        image_size: int,
        channels: int,
        at: Literal["model", "original"],
    ) -> "SourceImages":
        """Lists the source. Raises UserError if it has other images than the listing."""
        _, files = find_files(config)
        _check_names(config.label.url, files, listing)
        rows: list[tuple[int, Sequence[Item]]] = []
        for i, file in enumerate(files):
            rows += [(i, file.items)] if at == "original" else [(i, [each]) for each in file.items]
        return cls(files, rows, listing, image_size, channels, at)

    def read(self, start: int, stop: int) -> Iterator[SourceImage]:
        """Yields the images of the rows start..stop-1; threads read those that come next.

        Raises ChangedSource, OSError, UnreadableImage, each of which names the image.
        """
        # Whole images are large; squares are not, and a batch of them is wanted at once.
        num_ahead = NUM_THREADS * (2 if self.at == "original" else 32)
        with ThreadPoolExecutor(NUM_THREADS, "reader") as pool:
            yield from ahead(pool, self._row, self.rows[start:stop], num_ahead)

    def _row(self, row: tuple[int, Sequence[Item]]) -> SourceImage:
        number, items = row
        file, size = self.files[number], self.image_size
        try:
            pictures = [item.image(size) for item in items]
            self._check(number, pictures[0].data or items[0].content())
            places = [
                place_of(item, picture, size) for item, picture in zip(items, pictures, strict=True)
            ]
        except FileNotFoundError:
            raise ChangedSource(f"{file.image_url}: is gone. {_REMEDY}") from None
        except UnreadableImage as error:
            self._check(number, items[0].content())
            raise UnreadableImage(f"{file.image_url}: {error}") from None
        image = pictures[0].with_channels(self.channels)
        squares = [geometry.square_pixels(image, size, place) for place in places]
        if self.at == "original":
            return SourceImage(file.name, squares, places, image)
        return SourceImage(items[0].name, squares, places)

    def _check(self, number: int, data: bytes) -> None:
        if sha256_of(data) != self.listing.sha256s[number]:
            raise ChangedSource(
                f"{self.files[number].image_url}: has changed since the dataset was begun. "
                f"{_REMEDY}"
            )


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], num: int
) -> Iterator[R]:
    """Yields the results of work in order; the pool does at most num of them in advance."""
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > num:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
