"""A file of a store that is read range by range, and of which nothing stays open."""

import io
import os

from factory.storage.files import read_range


class RangedFile(io.RawIOBase):
    """A file, from whose store each read fetches what it asks for and no more.

    It holds no connection and no descriptor, so it may cross to other processes. size: in bytes.
    Reading raises as `read_range` does.
    """

    def __init__(self, url: str, size: int) -> None:
        self.url = url
        self.size = size
        self._position = 0

    def range(self, start: int, stop: int) -> bytes:
        """The bytes from start, before stop; fewer where the file ends."""
        return read_range(self.url, start, min(stop, self.size))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = start + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        stop = self.size if size is None or size < 0 else self._position + size
        data = self.range(self._position, stop)
        self._position += len(data)
        return data
