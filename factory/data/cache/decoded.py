"""A source's images, decoded once a machine into a cache that all its processes share.

The key of an entry follows from all that decides the pixels: the size, the channels, the way of
decoding, and each image's URL, version and settings.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import PIL

from factory import storage
from factory.config import DataConfig
from factory.data import loading, passes, tiles
from factory.data.cache import entries
from factory.data.cache.entries import Cached, NewEntry
from factory.data.items import Item, StoredSource
from factory.errors import Problems, UserError, shown
from factory.progress import duration, tell
from factory.threads import NUM_THREADS

DECODING_VERSION = 2
"""The version of the way of decoding: raise it if the same file gives other pixels than before."""
DECODING = f"version {DECODING_VERSION}, Pillow {PIL.__version__}, numpy {np.__version__}"
"""All but the settings that decides which pixels a file comes to."""
_TELL_SECONDS = 30.0
_CHUNK = 64
"""Images that a thread decodes before it asks for more."""


@dataclass(frozen=True)
class Wanted:
    """The images that a source has now, none of them read yet."""

    items: Sequence[Item]
    image_size: int
    channels: int
    key: str
    notes: tuple[str, ...]
    """Sentences on what is odd about the source."""
    may_fail: bool
    """False if no image can be unreadable."""

    @property
    def shape(self) -> entries.Shape:
        """The shape of the decoded images."""
        return len(self.items), self.image_size, self.image_size, self.channels

    @property
    def size(self) -> str:
        """The number of images, their size and the space they take, in words."""
        return _size(self.shape)


def find(source: StoredSource, image_size: int, channels: int = 3) -> Wanted:
    """Lists a source. Raises UserError with a line per problem, OSError if it is not reached."""
    problems = Problems()
    found = source.find(False, problems)
    if problems.found:
        raise UserError(loading.first_lines(problems.found))
    about = {
        "image_size": image_size,
        "decoding": [DECODING_VERSION, PIL.__version__, np.__version__],
        # What was decoded before there were other channels keeps its key.
        **({} if channels == 3 else {"channels": channels}),
    }
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    versions = source.versions(tiles.wholes(found.items))
    for item, version in zip(found.items, versions, strict=True):
        settings = item.reading.facts, item.tile and asdict(item.tile)
        key.update(json.dumps([item.image_url, version, settings]).encode())
    return Wanted(found.items, image_size, channels, key.hexdigest(), found.notes, found.may_fail)


def check_images(data: DataConfig, source: StoredSource) -> str | None:
    """Reads all images of a source and keeps none of them; reports what they will take, and what is
    odd about the source.

    Returns what tells the pixels from others, as `Cached.summary`; None for images that cannot
    fail, which are not read: what they are, the source says.

    Raises UserError with a line per image that cannot be used, and if there is no room.
    """
    wanted = find(source, data.side, data.num_channels)
    _report_notes(wanted)
    folder = _folder(data)
    if (cached := entries.open_entry(folder, wanted.key)) is not None:
        _report_found(cached, folder)
        return cached.summary
    try:
        storage.check_writable(str(folder))
    except UserError as error:
        raise UserError(f"data.cache_dir: {error}") from None
    entries.entries_to_remove(folder, math.prod(wanted.shape), data.cache_gib)
    digest = _decode(wanted, None) if wanted.may_fail else None
    tell(f"data | {wanted.size} will be decoded into {folder}")
    return digest and entries.summary(len(wanted.items), digest)


def cached_images(data: DataConfig, source: StoredSource, key: str | None = None) -> Cached:
    """The images of a source out of this machine's cache, decoded into it if they are missing.

    key: of the entry, if it is known: then the source is not even listed if the entry exists.
    Without it, what is odd about the source is reported.

    Raises UserError with a line per image that cannot be used, and if there is no room or the
    folder cannot be written; then nothing is left of it.
    """
    folder = _folder(data)
    if key is not None and (cached := entries.open_entry(folder, key)) is not None:
        return cached
    wanted = find(source, data.side, data.num_channels)
    if key is None:  # Else whoever knew it has reported them.
        _report_notes(wanted)
    if (cached := entries.open_entry(folder, wanted.key)) is None:
        with entries.naming_the_folder(folder), entries.making_alone(folder):
            # Another process may have made it while this one waited.
            if (cached := entries.open_entry(folder, wanted.key)) is None:
                _make(wanted, folder, data.cache_gib)
                cached = entries.open_entry(folder, wanted.key)
        assert cached is not None, "nobody removes an entry while the cache is ours"
    _report_found(cached, folder)
    return cached


def _folder(data: DataConfig) -> Path:
    """The folder of this machine's cache."""
    path = data.cache_dir or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "factory", "images"
    )
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(
            f"data.cache_dir: {path}: there is no home folder here. Name a folder that is on a "
            "disk of each machine."
        ) from None


def _report_notes(wanted: Wanted) -> None:
    for note in wanted.notes:
        tell(f"data | {shown(note)}")


def _report_found(cached: Cached, folder: Path) -> None:
    tell(f"data | {_size(cached.images.shape)} are decoded in {folder}")


def _size(shape: Sequence[int]) -> str:
    num, side = shape[:2]
    return f"{num:,} images of {side}x{side} pixels ({math.prod(shape) / 2**30:.2f} GiB)"


def _make(wanted: Wanted, folder: Path, cache_gib: float) -> None:
    """Adds an entry; the cache is ours alone. Raises UserError and OSError, and leaves nothing."""
    entries.make_room(folder, wanted.key, math.prod(wanted.shape), cache_gib)
    tell(f"data | decoding {wanted.size} into {folder}")
    with entries.new_entry(folder, wanted.key, wanted.shape) as entry:
        entry.finish(_decode(wanted, entry))


def _decode(wanted: Wanted, entry: NewEntry | None) -> str:
    """Reads all images, into the entry if there is one; returns the digest of all pixels.

    Raises UserError with a line per image that cannot be used.
    """
    digest, problems = hashlib.sha256(), Problems()
    started = reported = time.monotonic()
    num = len(wanted.items)
    pool = ThreadPoolExecutor(NUM_THREADS)
    try:
        chunks = pool.map(lambda i: _decode_chunk(wanted, i, entry), range(0, num, _CHUNK))
        for i, (digests, chunk_problems) in enumerate(chunks, 1):
            digest.update(b"".join(digests))
            problems.found.extend(chunk_problems)
            if (now := time.monotonic()) - reported > _TELL_SECONDS:
                reported, done = now, i * _CHUNK
                left = (now - started) / done * (num - done)
                tell(f"data | decoded {done:,}/{num:,} images | ETA {duration(left)}")
    finally:
        pool.shutdown(cancel_futures=True)
    if problems.found:
        raise UserError(loading.first_lines(problems.found))
    return digest.hexdigest()


def _decode_chunk(
    wanted: Wanted, start: int, entry: NewEntry | None
) -> tuple[list[bytes], list[str]]:
    """The digests of the images from this one on, and problems of those that cannot be used."""
    digests, problems = [], Problems()
    for i, item in enumerate(wanted.items[start : start + _CHUNK], start):
        if (
            image := passes.read_square(item, wanted.image_size, wanted.channels, problems)
        ) is not None:
            if entry is not None:
                entry.write(i, image)
            digests.append(hashlib.sha256(image.tobytes()).digest())
    return digests, problems.found
