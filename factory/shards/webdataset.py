"""One shard as a tar in WebDataset's convention: image.png, mask.png and json of each key.

The members' headers differ in name and size alone. So they are made and compared as bytes here:
`tarfile` takes longer for them than a small picture takes to encode.
"""

import io
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, BinaryIO

from factory.classes import Classes
from factory.errors import DamagedShard
from factory.shards.columns import COLUMNS, MASK_COLUMNS, Column, pictures_of
from factory.shards.schema import EncodedSample

_IMAGE, _FIELDS = ".image.png", ".json"
_NUM_MEMBERS = 3
_JSON = json.JSONEncoder(sort_keys=True, allow_nan=False)

_BLOCK, _RECORD = 512, 10240
_HEADER = struct.Struct("100s 8s 8s 8s 12s 12s 8s c 100s 8s 32s 32s 183x")
_NAME, _SIZE = slice(0, 100), slice(124, 135)


def encode(
    samples: Sequence[EncodedSample],
    classes: Classes,
    run: Mapping[str, str],
    columns: Sequence[Column] = COLUMNS,
) -> bytes:
    """The shard's bytes, the same for the same samples; a tar cannot hold classes and run."""
    del classes, run  # Samples have their other columns as fields.
    return b"".join(chunks(samples, columns))


def chunks(
    samples: Iterable[EncodedSample], columns: Sequence[Column] = COLUMNS
) -> Iterator[bytes]:
    """The shard's bytes, the members of a sample at a time."""
    suffixes = [*(f".{name}.png" for name in pictures_of(columns)), _FIELDS]
    size = 2 * _BLOCK
    for sample in samples:
        parts = []
        for suffix, content in zip(suffixes, _contents(sample), strict=True):
            header = _header(sample.fields["key"] + suffix, len(content))
            parts += [header, content, _padding(content)]
        members = b"".join(parts)
        size += len(members)
        yield members
    yield bytes(2 * _BLOCK + -size % _RECORD)


def size_of(sample: EncodedSample) -> int:
    """The bytes of the members of a sample."""
    return sum(_BLOCK + len(each) + len(_padding(each)) for each in _contents(sample))


def _contents(sample: EncodedSample) -> tuple[bytes, bytes, bytes]:
    """The image, the mask, and the fields as JSON."""
    return sample.image_png, sample.mask_png, _JSON.encode(sample.fields).encode()


def rows(shard: bytes | BinaryIO) -> Iterator[EncodedSample]:
    """The samples in order, one in memory at a time; nothing is ever extracted.

    shard: the bytes of a tar, or a file of them. Raises DamagedShard if they are torn or no tar of
    ours.
    """
    file = io.BytesIO(shard) if isinstance(shard, bytes) else shard
    for fields, image, mask in stored_samples(file):
        yield EncodedSample(fields, image.content(file), mask.content(file))


@dataclass(frozen=True)
class Member:
    """A file in a tar."""

    name: str
    offset: int
    """Where its content begins in the tar, behind its header."""
    size: int
    """The bytes of its content."""

    @property
    def slice(self) -> slice:
        """Where its content lies in the tar."""
        return slice(self.offset, self.offset + self.size)

    def content(self, tar: BinaryIO) -> bytes:
        """Its content."""
        tar.seek(self.offset)
        return tar.read(self.size)


def stored_samples(tar: BinaryIO) -> Iterator[tuple[dict[str, Any], Member, Member]]:
    """The fields of each sample, in order, and where its image and its mask lie.

    Raises DamagedShard as `rows` does.
    """
    members = _members(tar)
    try:
        for image in members:
            key = image.name.removesuffix(_IMAGE)
            mask, text = next(members), next(members)
            if image.name == key or not _is_mask(mask.name, key) or text.name != key + _FIELDS:
                raise DamagedShard(f"members {image.name}, {mask.name}, {text.name} are no sample")
            fields = json.loads(text.content(tar))
            if not isinstance(fields, dict) or fields.get("key") != key:
                raise DamagedShard(f"{text.name} does not hold the fields of {key}")
            yield fields, image, mask
    except StopIteration:
        raise DamagedShard("a tar whose last sample lacks members") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedShard(f"not a whole tar shard ({error})") from None


def _is_mask(name: str, key: str) -> bool:
    return name in [f"{key}.{column}.png" for column in MASK_COLUMNS]


def places_of_samples(read: Callable[[int, int], bytes], size: int) -> list[range]:
    """Where the members of each sample lie in a tar, whose headers alone are read.

    read: gives the bytes of the tar from a place, before another one. size: of the tar, in bytes.
    Raises DamagedShard if it is no tar of ours.
    """
    ends = [0]
    while any(header := read(ends[-1], ends[-1] + _BLOCK)):
        _, length = _read_header(header)
        ends.append(ends[-1] + _BLOCK + length + -length % _BLOCK)
    if ends[-1] + 2 * _BLOCK > size or len(ends) % _NUM_MEMBERS != 1:
        raise DamagedShard("a tar that is cut off, or whose last sample lacks members")
    starts = ends[::_NUM_MEMBERS]
    return [range(start, stop) for start, stop in pairwise(starts)]


def sample_of(members: bytes) -> EncodedSample:
    """The sample of its members' part of a tar. Raises DamagedShard as `rows` does."""
    return next(rows(members + bytes(2 * _BLOCK)))


def pictures_at(
    read: Callable[[int, int], bytes], key: str, image: slice, mask: slice
) -> tuple[bytes, bytes]:
    """The image and the mask of a sample, read at once from where their contents lie in a tar.

    read: as for `places_of_samples`. Raises DamagedShard unless their headers are before them.
    """
    start = image.start - _BLOCK
    data = read(start, mask.stop)
    found = []
    for place in (image, mask):
        content = data[place.start - start : place.stop - start]
        name, size = _read_header(data[place.start - start - _BLOCK : place.start - start])
        named = name == key + _IMAGE if place is image else _is_mask(name, key)
        if not named or not size == len(content) == place.stop - place.start:
            raise DamagedShard(f"a tar that has {name} where a picture of {key} should be")
        found.append(content)
    return found[0], found[1]


def _members(tar: BinaryIO) -> Iterator[Member]:
    """The members, up to the end mark."""
    start, stop = 0, tar.seek(0, os.SEEK_END)
    while any(header := _block(tar, start)):
        name, size = _read_header(header)
        start += _BLOCK
        # A header may claim more than there is memory.
        if start + size > stop:
            raise DamagedShard(f"{name} is cut off")
        yield Member(name, start, size)
        start += size + -size % _BLOCK
    end = header + tar.read()
    if len(end) < 2 * _BLOCK or any(end):
        raise DamagedShard("a tar without its end: cut off, or a member's header is damaged")


def _block(tar: BinaryIO, start: int) -> bytes:
    tar.seek(start)
    return tar.read(_BLOCK)


def _read_header(header: bytes) -> tuple[str, int]:
    """A member's name and size. Raises DamagedShard unless it is a header as we write it."""
    try:
        name, size = header[_NAME].rstrip(b"\0").decode(), int(header[_SIZE], 8)
    except ValueError:
        raise DamagedShard(f"a tar with a damaged header: {header[:32]!r}...") from None
    if size < 0 or header != _header(name, size):
        raise DamagedShard(f"a tar whose header of {name!r} is damaged or not ours")
    return name, size


def _header(name: str, size: int) -> bytes:
    """The USTAR header of a file of size bytes, whose name has at most 100 bytes."""
    path, length = name.encode(), b"%011o\0" % size
    assert len(path) <= _NAME.stop, name
    return _fill(path, length, b"%06o\0 " % (_BLANK_SUM + sum(path) + sum(length)))


def _fill(path: bytes, length: bytes, checksum: bytes) -> bytes:
    mode, owner, time = b"0000644\0", b"0000000\0", b"%011o\0" % 0
    magic, user = b"ustar\x0000", b"factory"
    return _HEADER.pack(
        path, mode, owner, owner, length, time, checksum, b"0", b"", magic, user, user
    )


# The checksum counts its own field as blanks.
_BLANK_SUM = sum(_fill(b"", b"", b" " * 8))


def _padding(content: bytes) -> bytes:
    return bytes(-len(content) % _BLOCK)
