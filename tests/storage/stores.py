"""An object store that fails now and then or refuses, and a clock that stands still."""

import random
import time
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
from s3fs.errors import translate_boto_error


class Store(MemoryFileSystem):
    """An object store whose next calls end with these errors, or well."""

    cachable = False
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    errors: ClassVar[list[Exception | None]] = []
    replaces: ClassVar[bool] = False
    """Whether it replaces files in spite of create-only writes."""

    def _raise_next_error(self) -> None:
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error

    def exists(self, path: str, **kwargs: Any) -> bool:
        self._raise_next_error()
        return bool(super().exists(path, **kwargs))

    def size(self, path: str) -> int | None:
        self._raise_next_error()
        return super().size(path)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        self._raise_next_error()
        super().pipe_file(path, value, mode="overwrite" if self.replaces else mode, **kwargs)

    def cat_file(self, path: str, **kwargs: Any) -> bytes:
        self._raise_next_error()
        return bytes(super().cat_file(path, **kwargs))

    def find(self, path: str, *rest: Any, **kwargs: Any) -> Any:
        self._raise_next_error()
        return super().find(path, *rest, **kwargs)


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


def answer(code: str, status: int) -> OSError:
    """As s3fs raises what an S3 server answered."""
    body = {"Error": {"Code": code, "Message": "the server's words"}}
    response = {**body, "ResponseMetadata": {"HTTPStatusCode": status}}
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


TEMPORARY_ERRORS = [
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


def lose_the_response(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The store's first call of this name succeeds, but ends with an error."""
    lost: list[str] = []
    original = getattr(Store, name)

    def call(self: Store, *rest: Any, **more: Any) -> None:
        original(self, *rest, **more)
        if not lost:
            lost.append(name)
            raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(Store, name, call)
