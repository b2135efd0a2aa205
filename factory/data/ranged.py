"""A file of a disk or a store that libraries read as a file, of which only ranges are read."""

import io
import threading
from typing import Any

from factory import storage


class RangedFile(io.RawIOBase):
    """A file of a disk or a store, read by ranges, so that nothing stays open.

    A thread holds the range of the member that it is about to read: threads then wait for their
    store at the same time, though `zipfile` reads by one after another.
    """

    def __init__(self, url: str, size: int | None) -> None:
        self._url = url
        self._whole = storage.read_bytes(url) if size is None else None
        self._size = len(self._whole) if self._whole is not None else size or 0
        self._position = 0
        self._held = threading.local()

    def hold(self, start: int, stop: int) -> None:
        """Reads a range for the calling thread. Raises OSError."""
        if self._whole is None:
            self._held.start = start
            self._held.data = storage.read_range(self._url, start, min(stop, self._size))

    def drop(self) -> None:
        """Forgets what the calling thread holds."""
        self._held.__dict__.clear()

    def seekable(self) -> bool:
        """Always."""
        return True

    def readable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The position of the next read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves the position, which cannot lie before the file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(22, "Invalid argument")
        self._position = base + offset
        return self._position

    def read(self, num_bytes: int = -1) -> bytes:
        """The next bytes, fewer only at the end of the file. Raises OSError."""
        start = min(self._position, self._size)
        stop = self._size if num_bytes < 0 else min(start + num_bytes, self._size)
        self._position = stop
        if self._whole is not None:
            return self._whole[start:stop]
        held: tuple[int, bytes] = getattr(self._held, "start", 0), getattr(self._held, "data", b"")
        first, data = held
        if first <= start and stop <= first + len(data):
            return data[start - first : stop - first]
        return storage.read_range(self._url, start, stop)

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer as far as the file goes. Raises OSError."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)
