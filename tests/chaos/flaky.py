"""An object store on local disk that fails now and then: seeded, and the same for every process.

Like S3, it shows an object only when it is whole, and creates one only where there is none if asked
to. It raises before a call, raises after one that succeeded, drops the connection in the middle of
an upload, is slow, and lists what was there a moment ago.
"""

import os
import random
import time
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem


class FlakyFileSystem(AbstractFileSystem):
    """`gs://NAME` lies below `root`. rate: share of the calls that go wrong."""

    protocol = "gs"
    cachable = False
    root = Path()
    rate = 0.0
    rng = random.Random()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + str(path).removeprefix("gs://").strip("/")

    def _file(self, path: str) -> Path:
        return self.root / self._strip_protocol(path).lstrip("/")

    def _failure(self, *kinds: str) -> str:
        """What goes wrong with this call, if anything."""
        if self.rng.random() >= self.rate:
            return ""
        kind = self.rng.choice(kinds)
        if kind == "delay":
            time.sleep(self.rng.uniform(0, 0.02))
        if kind == "before":
            raise OSError("503 SlowDown" if self.rng.random() < 0.5 else "connection reset by peer")
        return kind

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        failure = self._failure("before", "after", "short", "delay")
        file = self._file(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        upload = file.with_name(f".upload-{os.getpid()}-{random.randrange(2**63)}")
        try:
            if failure == "short":
                upload.write_bytes(value[: len(value) // 2])
                raise OSError("the connection was closed in the middle of the upload")
            upload.write_bytes(value)
            if mode == "create":
                os.link(upload, file)
            else:
                os.replace(upload, file)
        finally:
            upload.unlink(missing_ok=True)
        if failure == "after":
            raise OSError("the answer was lost")

    def cat_file(self, path: str, **kwargs: Any) -> bytes:
        self._failure("before", "delay")
        return self._file(path).read_bytes()

    def rm_file(self, path: str) -> None:
        self._file(path).unlink()

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        file = self._file(path)
        if not file.exists():
            raise FileNotFoundError(path)
        kind = "directory" if file.is_dir() else "file"
        return {"name": path, "size": file.stat().st_size, "type": kind}

    def exists(self, path: str, **kwargs: Any) -> bool:
        self._failure("before", "delay")
        return self._file(path).exists()

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Sorted; a stale listing lacks the youngest files."""
        failure = self._failure("before", "stale", "delay")
        top = self._file(path)
        pattern = "*" if maxdepth == 1 else "**/*"
        there = [p for p in top.glob(pattern) if p.is_file() and not p.name.startswith(".upload-")]
        stats = {p: p.stat() for p in there if p.exists()}
        young = time.time() - (self.rng.uniform(0, 0.5) if failure == "stale" else -60)
        found = {
            "/" + str(p.relative_to(self.root)): {"size": s.st_size, "mtime": s.st_mtime}
            for p, s in sorted(stats.items())
            if s.st_mtime < young
        }
        return found if detail else list(found)
