"""Claims about factory.storage."""

import errno
import os
import random
import time
import uuid
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    TokenRetrievalError,
)
from fsspec.exceptions import FSTimeoutError
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry
from s3fs.errors import translate_boto_error

from factory import storage
from factory.errors import UserError
from factory.storage import retries


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place on this machine, and one behind fsspec."""
    return str(tmp_path / "a") if request.param == "local" else f"memory://{uuid.uuid4().hex}/a"


def test_what_is_written_is_read(place: str) -> None:
    file = storage.join(place, "b", "c.bin")
    storage.write_new(file, b"one")
    assert storage.read_bytes(file) == b"one"
    assert storage.exists(file) and storage.exists(place)
    assert not storage.exists(storage.join(place, "d"))


def test_write_new_never_replaces(place: str) -> None:
    file = storage.join(place, "c.bin")
    storage.write_new(file, b"one")
    with pytest.raises(FileExistsError):
        storage.write_new(file, b"two")
    assert storage.read_bytes(file) == b"one"


def test_write_replaces(place: str) -> None:
    file = storage.join(place, "c.txt")
    storage.write(file, b"a longer text")
    storage.write(file, "zwölf".encode())
    assert storage.read_text(file) == "zwölf"


def test_a_missing_file_is_not_found(place: str) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(storage.join(place, "nothing"))


def test_writing_leaves_nothing_else_behind(tmp_path: Path) -> None:
    storage.write_new(str(tmp_path / "a"), b"1")
    storage.write(str(tmp_path / "a"), b"2")
    with pytest.raises(FileExistsError):
        storage.write_new(str(tmp_path / "a"), b"3")
    assert os.listdir(tmp_path) == ["a"]


def test_listing_is_sorted_filtered_and_without_hidden_files(place: str) -> None:
    for name in (
        "b.png",
        "a.PNG",
        "c.txt",
        ".hidden.png",
        "sub/d.png",
        ".git/e.png",
        "B.png",
    ):
        storage.write_new(storage.join(place, name), b"x")
    flat = [storage.join(place, name) for name in ("B.png", "a.PNG", "b.png")]
    assert storage.list_files(place, (".png",)) == flat
    assert storage.list_files(place, (".png",), recursive=True) == [
        *flat, storage.join(place, "sub/d.png")
    ]  # fmt: skip
    assert len(storage.list_files(place)) == 4


def test_a_folder_that_is_not_there_has_no_files(place: str) -> None:
    assert storage.list_files(storage.join(place, "nothing")) == []


def test_a_linked_folder_does_not_repeat_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert storage.list_files(str(tmp_path), (".png",), recursive=True) == [str(tmp_path / "a.png")]


def test_paths_become_absolute_and_urls_lose_the_last_slash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage.normalize("out/x/") == str(tmp_path / "out/x")
    assert storage.normalize(f"file://{tmp_path}/x") == str(tmp_path / "x")
    assert storage.normalize("s3://bucket/prefix/") == "s3://bucket/prefix"
    assert storage.is_local(storage.normalize("x")) and not storage.is_local("s3://bucket")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert storage.normalize("~/x") == str(tmp_path / "home/x")


def test_the_last_part_is_the_name() -> None:
    assert storage.name_of("s3://bucket/a/b.png") == storage.name_of("/a/b.png/") == "b.png"


def test_probing_a_place_leaves_no_trace(tmp_path: Path) -> None:
    storage.check_writable(str(tmp_path / "new" / "deep"))
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named_with_the_reason(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written") as refusal:
        storage.check_writable(str(tmp_path / "file" / "below"))
    assert str(tmp_path / "file") in str(refusal.value)


def test_reasons_do_not_repeat_the_place() -> None:
    assert storage.describe(FileNotFoundError(2, "No such file", "/a/b")) == "No such file"
    assert storage.describe(OSError()) == "OSError"
    assert storage.describe(ValueError("odd")) == "odd"


# A store that stumbles, or turns us down


class Store(MemoryFileSystem):
    """An object store whose next calls end with these errors, or well."""

    cachable = False
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    errors: ClassVar[list[Exception | None]] = []
    replaces: ClassVar[bool] = False
    """Whether it replaces files in spite of create-only writes."""

    def _stumble(self) -> None:
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error

    def exists(self, path: str, **kwargs: Any) -> bool:
        self._stumble()
        return bool(super().exists(path, **kwargs))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        self._stumble()
        super().pipe_file(path, value, mode="overwrite" if self.replaces else mode, **kwargs)

    def cat_file(self, path: str, **kwargs: Any) -> bytes:
        self._stumble()
        return bytes(super().cat_file(path, **kwargs))

    def find(self, path: str, *rest: Any, **kwargs: Any) -> Any:
        self._stumble()
        return super().find(path, *rest, **kwargs)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> type[Store]:
    """Behind memory://."""
    monkeypatch.setitem(_registry, "memory", Store)
    for name, value in {"store": {}, "pseudo_dirs": [""], "errors": [], "replaces": False}.items():
        monkeypatch.setattr(Store, name, value)
    return Store


class Clock:
    """Stands still while nobody sleeps; luck: where in its range each pause falls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, luck: float = 0.0) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        monkeypatch.setattr(time, "sleep", self.sleep)
        monkeypatch.setattr(random, "uniform", lambda low, high: low + luck * (high - low))

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)


@pytest.mark.parametrize("luck", [0.0, 0.5, 1.0])
def test_any_outage_of_a_minute_is_survived_with_few_calls(
    luck: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, calls = Clock(monkeypatch, luck), []

    def work() -> str:
        calls.append(clock.now)
        if clock.now < 60:
            raise OSError("503 SlowDown")
        return "done"

    assert retries.with_retries(work) == "done"
    assert len(calls) <= retries.TRIES
    assert max(after - before for before, after in pairwise(calls)) <= 30


@pytest.mark.parametrize("luck", [0.0, 1.0])
def test_an_outage_that_lasts_is_told_after_minutes(
    luck: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, luck)

    def work() -> None:
        raise OSError("503 SlowDown")

    with pytest.raises(OSError, match="503"):
        retries.with_retries(work)
    assert 60 < clock.now < 180


def answer(code: str, status: int) -> OSError:
    """As s3fs raises what an S3 server answered."""
    told = {"Error": {"Code": code, "Message": "the server's words"}}
    response = {**told, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = translate_boto_error(ClientError(response, "PutObject"))
    assert isinstance(error, OSError)
    return error


REFUSALS = [
    answer("ExpiredToken", 400),
    answer("ExpiredTokenException", 400),
    answer("TokenRefreshRequired", 400),
    answer("InvalidAccessKeyId", 403),
    answer("InvalidClientTokenId", 403),
    answer("SignatureDoesNotMatch", 403),
    answer("AccessDenied", 403),
    answer("KMS.DisabledException", 400),
    answer("403", 403),
    # Of a HEAD there are no words; expired credentials are answered so.
    answer("400", 400),
    NoCredentialsError(),
    PartialCredentialsError(provider="env", cred_var="key"),
    TokenRetrievalError(provider="sso", error_msg="expired"),
]
STUMBLES = [
    answer("SlowDown", 503),
    answer("503", 503),
    answer("InternalError", 500),
    answer("RequestTimeout", 400),
    answer("BadDigest", 400),
    answer("ConditionalRequestConflict", 409),
    EndpointConnectionError(endpoint_url="https://s3"),
    ReadTimeoutError(endpoint_url="https://s3"),
    ConnectionResetError("reset by peer"),
    TimeoutError("timed out"),
    FSTimeoutError(),
]


def kind(error: Exception) -> str:
    response = getattr(error.__cause__, "response", None)
    return response["Error"]["Code"] if response else type(error).__name__


@pytest.mark.parametrize("error", REFUSALS, ids=kind)
def test_what_a_store_refuses_is_told_at_once_with_what_to_do(
    error: Exception, store: type[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    store.errors[:] = [error]
    with pytest.raises(PermissionError) as raised:
        storage.write("memory://b/x", b"x")
    assert not storage.is_transient(raised.value) and not clock.now
    assert "memory://b/x" in str(raised.value) and "renew them" in str(raised.value)
    store.errors[:] = [error]
    with pytest.raises(UserError, match=r"^memory://b: cannot be written .* renew them"):
        storage.check_writable("memory://b")
    assert not clock.now


@pytest.mark.parametrize("error", [e for e in REFUSALS if isinstance(e, OSError)], ids=kind)
def test_s3s_own_refusals_are_permanent(error: OSError) -> None:
    assert not storage.is_transient(error)


@pytest.mark.parametrize("error", STUMBLES, ids=kind)
def test_a_store_that_stumbles_once_is_asked_again(
    error: Exception, store: type[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    for num_good in range(4):
        store.errors[:] = [*[None] * num_good, error]
        assert storage.check_writable("memory://b")
        assert not store.errors and clock.now
        assert storage.entries("memory://b") == []


CALLS = {
    "read_bytes": lambda: storage.read_bytes("memory://b/x"),
    "sha256_of": lambda: storage.sha256_of("memory://b/x"),
    "exists": lambda: storage.exists("memory://b/x"),
    "list_files": lambda: storage.list_files("memory://b"),
    "entries": lambda: storage.entries("memory://b"),
    "versions": lambda: storage.versions("memory://b", ["memory://b/x"]),
    "write": lambda: storage.write("memory://b/x", b"y"),
    "write_new": lambda: storage.write_new("memory://b/new", b"y"),
}


@pytest.mark.parametrize("name", CALLS)
def test_each_call_is_repeated_where_the_store_stumbles_and_no_more_often_than_that(
    name: str, store: type[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write("memory://b/x", b"x")
    pauses = Clock(monkeypatch).pauses
    store.errors[:] = [answer("SlowDown", 503) for _ in range(3)]
    CALLS[name]()
    assert len(pauses) == 3 and not store.errors
    store.errors[:] = [answer("SlowDown", 503) for _ in range(99)]
    with pytest.raises(OSError, match="memory://b"):
        CALLS[name]()
    assert len(store.errors) == 99 - retries.TRIES


def lose_the_response(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The store's first call of this name succeeds, but ends with an error."""
    lost: list[str] = []
    honest = getattr(Store, name)

    def call(self: Store, *rest: Any, **more: Any) -> None:
        honest(self, *rest, **more)
        if not lost:
            lost.append(name)
            raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(Store, name, call)


def test_a_file_that_was_created_although_the_response_was_lost_is_nobody_elses(
    store: type[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    lose_the_response(monkeypatch, "pipe_file")
    storage.write_new("memory://b/x", b"ours")
    assert storage.read_bytes("memory://b/x") == b"ours"
    with pytest.raises(FileExistsError):
        storage.write_new("memory://b/x", b"ours")


def test_a_file_that_somebody_else_created_after_a_stumble_is_theirs(
    store: type[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: storage.write("memory://b/x", b"theirs"))
    store.errors[:] = [answer("SlowDown", 503)]
    with pytest.raises(FileExistsError):
        storage.write_new("memory://b/x", b"ours")
    assert storage.read_bytes("memory://b/x") == b"theirs"


def test_a_file_that_was_removed_although_the_response_was_lost_is_not_missing(
    store: type[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    storage.write("memory://b/x", b"x")
    lose_the_response(monkeypatch, "rm_file")
    storage.remove("memory://b/x")
    assert not storage.exists("memory://b/x")
    with pytest.raises(FileNotFoundError):
        storage.remove("memory://b/x")


def test_a_missing_bucket_is_told_at_once(
    store: type[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    store.errors[:] = [answer("NoSuchBucket", 404)]
    with pytest.raises(UserError, match="cannot be written"):
        storage.check_writable("memory://b")
    assert not clock.now


def test_a_store_that_cannot_be_reached_for_long_is_no_mistake_of_the_place(
    store: type[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    store.errors[:] = [answer("SlowDown", 503) for _ in range(99)]
    with pytest.raises(UserError, match=r"memory://b: cannot be reached now .* same command again"):
        storage.check_writable("memory://b")


def test_a_store_without_create_only_writes_is_found_out(store: type[Store]) -> None:
    assert storage.check_writable("memory://b")
    store.replaces = True
    assert not storage.check_writable("memory://b")
    assert storage.entries("memory://b") == []


def test_a_full_disk_is_told_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        # As the system says it: without a name.
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for write in (storage.write, storage.write_new):
        with pytest.raises(OSError, match="No space left") as raised:
            write(str(tmp_path / "weights"), b"x")
        assert str(tmp_path / "weights") in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_below_a_file_there_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for read in (storage.read_bytes, storage.sha256_of):
        with pytest.raises(FileNotFoundError):
            read(str(tmp_path / "file" / "below"))


@pytest.mark.parametrize("days", [-1, 0, 1])
def test_a_places_clock_is_not_this_processes(
    place: str, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write(f"{place}/x", b"x")
    honest = time.time
    monkeypatch.setattr(time, "time", lambda: honest() + days * 86400)
    now, [entry] = storage.clock_of(place), storage.entries(place)
    assert now is not None and entry.modified is not None
    assert 0 <= now - entry.modified < 3600
    assert [entry.name for entry in storage.entries(place)] == ["x"]


def test_memory_alone_does_not_outlive_the_process(tmp_path: Path) -> None:
    assert storage.outlives_this_process(str(tmp_path))
    assert not storage.outlives_this_process("memory://b")
