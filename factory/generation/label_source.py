"""The images that are labelled: which they are, whether they are those of the plan, their pixels.

Shapes: S image size.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from factory import storage
from factory.config import Config, required
from factory.data import geometry
from factory.data.items import Item, StoredSource
from factory.data.loading import first_lines
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
    pixels: UInt8
    """(S, S, 3) RGB, as the network takes it."""


def find_items(config: Config) -> tuple[StoredSource, Sequence[Item]]:
    """The source of label.source and its images, none of them read.

    Raises UserError with all problems.
    """
    source: StoredSource = required(config, "label.source")
    problems = Problems()
    found = source.find(False, problems)
    problems.raise_if_any()
    for note in found.notes:
        tell(f"label | {shown(note)}")
    return source, found.items


@dataclass(frozen=True)
class Listed:
    """The images of a source before any is read, and how they are read."""

    listing: SourceListing
    reading: Reading


def list_source(config: Config, known: SourceListing | None) -> Listed:
    """The images of label.source with the hashes of their bytes.

    known: the listing of the dataset that lies at label.url; images that were not written since are
    not hashed again. Raises UserError, which names all images that are not those of the known
    listing, or cannot be read.
    """
    source, items = find_items(config)
    if known is not None:
        _check_names(config.label.url, [item.name for item in items], known)
    reading = items[0].reading if items else DEFAULT_READING
    versions = list(source.versions(items))
    to_hash = [
        i
        for i, version in enumerate(versions)
        if known is None or not version or version != known.versions[i]
    ]
    hashes = _hashes([items[i] for i in to_hash])
    if known is None:
        names, urls = [item.name for item in items], [item.image_url for item in items]
        return Listed(SourceListing(names, urls, versions, hashes), reading)
    changed = [
        items[i].image_url
        for i, sha256 in zip(to_hash, hashes, strict=True)
        if sha256 != known.sha256s[i]
    ]
    _refuse([f"{u}: has changed since {config.label.url} was begun. {_REMEDY}" for u in changed])
    return Listed(known, reading)


def _check_names(url: str, names: Sequence[str], known: SourceListing) -> None:
    """Raises UserError where other images are there than those of a listing."""
    urls = dict(zip(known.names, known.urls, strict=True))
    there = set(names)
    missing = [urls[name] for name in known.names if name not in there]
    lines = [f"{each}: is gone, and {url} was begun with it. {_REMEDY}" for each in missing]
    added = [name for name in names if name not in urls]
    lines += [f"{name}: is new since {url} was begun. {_REMEDY}" for name in added]
    _refuse(lines)


def _hashes(items: Sequence[Item]) -> list[str]:
    """The sha256 of each item's bytes. Raises UserError with a line per item that is unreadable."""
    problems, hashes = Problems(), []
    if len(items) > 1:
        tell(f"label | hashing {counted(len(items), 'image')}")
    with ThreadPoolExecutor(NUM_THREADS, "hasher") as pool:
        hashed = ahead(pool, _hash, items, NUM_THREADS * 4)
        for found in tracked(hashed, "hashing", len(items), "images"):
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


def _hash(item: Item) -> str | UserError:
    try:
        return sha256_of(item.content())
    except UnreadableImage as error:
        return UserError(f"{item.image_url}: {error}")
    except OSError as error:
        return UserError(f"{item.image_url}: cannot be read ({storage.describe(error)}).")


def sha256_of(data: bytes) -> str:
    """The sha256 as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class SourceImages:
    """The images of label.source, which are those of a listing."""

    items: Sequence[Item]
    listing: SourceListing
    image_size: int
    """The height and width that the network takes, in pixels."""

    @classmethod
    def open(cls, config: Config, listing: SourceListing, image_size: int) -> "SourceImages":
        """Lists the source. Raises UserError if it has other images than the listing."""
        _, items = find_items(config)
        _check_names(config.label.url, [item.name for item in items], listing)
        return cls(items, listing, image_size)

    def read(self, start: int, stop: int) -> Iterator[SourceImage]:
        """Yields the images start..stop-1 in order; threads read those that come next.

        Raises ChangedSource, OSError, UnreadableImage, each of which names the image.
        """
        with ThreadPoolExecutor(NUM_THREADS, "reader") as pool:
            yield from ahead(pool, self._image, range(start, stop), NUM_THREADS * 4)

    def _image(self, index: int) -> SourceImage:
        item = self.items[index]
        try:
            picture = item.image(self.image_size)
        except FileNotFoundError:
            raise ChangedSource(f"{item.image_url}: is gone. {_REMEDY}") from None
        except UnreadableImage as error:
            self._check(index, item.content())
            raise UnreadableImage(f"{item.image_url}: {error}") from None
        self._check(index, picture.data or item.content())
        size = self.image_size
        place = geometry.placement(picture.image.size, size, item.reading.fit, None)
        return SourceImage(item.name, geometry.square_rgb(picture.image, size, place))

    def _check(self, index: int, data: bytes) -> None:
        if sha256_of(data) != self.listing.sha256s[index]:
            raise ChangedSource(
                f"{self.items[index].image_url}: has changed since the dataset was begun. {_REMEDY}"
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
