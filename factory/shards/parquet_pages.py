"""Single pages of a Parquet file, found by its page index.

pyarrow reads no less than a column of a row group, which is a hundred pictures. So what says where
pages lie (the footer, the offset index, the headers of pages, all in Thrift's compact protocol) is
read here, and pages of the one kind that `parquet` writes pictures in: plain and uncompressed.

The format: https://parquet.apache.org/docs/file-format/ and its parquet.thrift.
"""

import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from factory.errors import DamagedShard

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_WHOLE_NUMBERS = (4, 5, 6)
_DATA_PAGE, _PLAIN, _UNCOMPRESSED = 0, 0, 0

Fields = dict[int, Any]
"""A struct of Thrift: values by the numbers of their fields, which parquet.thrift names."""


@dataclass(frozen=True)
class Page:
    """A page of a column, as the offset index tells of it."""

    start: int
    """The place of its header in the file."""
    size: int
    """Bytes, header included."""
    first_row: int
    """Its first row, counted from that of the row group."""
    num_rows: int


@dataclass(frozen=True)
class Chunk:
    """A column of a row group, as the footer tells of it."""

    index: range
    """Where its offset index lies in the file."""
    pages: range
    """Where its pages lie, one after another."""
    num_rows: int


def offset_indexes(footer: bytes) -> list[dict[str, Chunk]]:
    """For each row group, its columns by their names.

    footer: the metadata at the end of a file. Those without an index are left out. Raises
    DamagedShard.
    """
    metadata = _struct(footer)[0]
    with _fields_are_there("a footer"):
        return [_chunks_of(group[1], group[3]) for group in metadata[4]]


def _chunks_of(chunks: Sequence[Fields], num_rows: int) -> dict[str, Chunk]:
    return {
        b".".join(chunk[3][3]).decode(errors="replace"): Chunk(
            index=range(chunk[4], chunk[4] + chunk[5]),
            pages=range(chunk[3][9], chunk[3][9] + chunk[3][7]),
            num_rows=int(num_rows),
        )
        for chunk in chunks
        if chunk.get(4) and chunk.get(5) and chunk[3][4] == _UNCOMPRESSED
    }


def pages_of(offset_index: bytes, chunk: Chunk) -> list[Page]:
    """The pages that a column's offset index tells of, in order.

    Raises DamagedShard, also unless they are all of the column's bytes and rows, without a gap:
    neither the index nor the footer has a checksum, and a page is not told from another.
    """
    found = _struct(offset_index)[0]
    with _fields_are_there("an offset index"):
        places = [(int(each[1]), int(each[2]), int(each.get(3, 0))) for each in found[1]]
    starts = [start for start, _, _ in places]
    stops = [start + size for start, size, _ in places]
    rows = [*(first for _, _, first in places), chunk.num_rows]
    nums = [after - first for first, after in pairwise(rows)]
    if (
        [chunk.pages.start, *stops] != [*starts, chunk.pages.stop]
        or rows[0] != 0
        or min(nums, default=1) < 1
    ):
        raise DamagedShard("an offset index whose pages are not those of its column")
    return [Page(*place, num) for place, num in zip(places, nums, strict=True)]


def page_of_row(pages: Sequence[Page], row: int) -> Page:
    """The page that holds a row of the row group. Raises DamagedShard if there is none."""
    before = bisect_right(pages, row, key=lambda page: page.first_row)
    if not before:
        raise DamagedShard(f"an offset index without a page for row {row}")
    return pages[before - 1]


def values_of(page: bytes) -> list[bytes]:
    """The values of a page of binary values, none of which is missing.

    page: header and body. Raises DamagedShard, also where the page's checksum is not that of its
    body.
    """
    header, start = _struct(page)
    body = page[start:]
    with _fields_are_there("the header of a page"):
        kind, size, checksum = (int(header[i]) for i in (1, 3, 4))
        num_values, encoding = (int(header[5][i]) for i in (1, 2))
    if len(body) != size or zlib.crc32(body) != checksum & 0xFFFFFFFF:
        raise DamagedShard("a page whose checksum is not that of its bytes")
    if kind != _DATA_PAGE or encoding != _PLAIN:
        raise DamagedShard(f"a page of kind {kind} and encoding {encoding}, not of plain values")
    # Before the values lie the levels, which would tell missing ones: then there are fewer values.
    at, values = 4 + int.from_bytes(body[:4], "little"), []
    while at < len(body):
        size = int.from_bytes(body[at : at + 4], "little")
        values.append(body[at + 4 : at + 4 + size])
        at += 4 + size
    if at != len(body) or len(values) != num_values:
        raise DamagedShard(f"a page of {len(values)} values, not {num_values}")
    return values


@contextmanager
def _fields_are_there(what: str) -> Iterator[None]:
    """Raises DamagedShard where the body misses a field, or finds one of another type."""
    try:
        yield
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        raise DamagedShard(f"{what} that lacks what it must tell ({error!r})") from None


def _struct(data: bytes) -> tuple[Fields, int]:
    """The struct at the start of data, and where it ends. Raises DamagedShard."""
    reader = _Reader(data)
    try:
        return reader.struct(), reader.at
    except (IndexError, RecursionError) as error:
        raise DamagedShard(f"metadata that is cut off or damaged ({error})") from None


class _Reader:
    """Reads values of Thrift's compact protocol."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def struct(self) -> Fields:
        fields: Fields = {}
        number = 0
        while head := self._byte():
            delta, kind = head >> 4, head & 0xF
            number = number + delta if delta else self._signed()
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind)
        return fields

    def _value(self, kind: int) -> Any:
        if kind in _WHOLE_NUMBERS:
            return self._signed()
        if kind == _BINARY:
            return self._bytes(self._unsigned())
        if kind in (_LIST, _SET):
            return self._list()
        if kind == _STRUCT:
            return self.struct()
        if kind in (_BYTE, _TRUE, _FALSE):
            return self._byte()
        if kind == _DOUBLE:
            return self._bytes(8)
        raise DamagedShard(f"metadata with a value of the unknown kind {kind}")

    def _list(self) -> list[Any]:
        head = self._byte()
        size, kind = head >> 4, head & 0xF
        size = self._unsigned() if size == 15 else size
        return [self._value(kind) for _ in range(size)]

    def _signed(self) -> int:
        number = self._unsigned()
        return (number >> 1) ^ -(number & 1)

    def _unsigned(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7

    def _byte(self) -> int:
        byte = self._data[self.at]
        self.at += 1
        return byte

    def _bytes(self, size: int) -> bytes:
        taken = self._data[self.at : self.at + size]
        if len(taken) != size:
            raise IndexError("a text longer than what follows")
        self.at += size
        return taken
