"""A file of a disk or a store that is read range by range, and of which nothing stays open."""

import io
import os
from typing import Any

from factory.storage.files import read_bytes, read_range


class RangedFile(io.RawIOBase):
    """A file, from whose store each read fetches what it asks for and no more.

    It holds no connection and no descriptor, so it may cross to other processes. size: in bytes;
    None where the store does not tell it, then all of the file is read at once. Reading raises as
    `read_range` does.
    """

    def __init__(self, url: str, size: int | None) -> None:
        """Raises FileNotFoundError where all of the file is read."""
        self.url = url
        self._whole = read_bytes(url) if size is None else None
        self.size = len(self._whole) if self._whole is not None else size or 0
        self._position = 0

    def range(self, start: int, stop: int) -> bytes:
        """The bytes from start, before stop; fewer where the file ends."""
        if self._whole is not None:
            return self._whole[start:stop]
        return read_range(self.url, start, min(stop, self.size))

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The position of the next read."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position, which cannot lie before the file: that raises OSError."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise OSError(22, "Invalid argument")
        self._position = start + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes, fewer only at the end of the file."""
        start = min(self._position, self.size)
        stop = self.size if size is None or size < 0 else start + size
        data = self.range(start, stop)
        self._position = start + len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer as far as the file goes."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)
