"""Errors of stores: all of them as OSErrors, and whether another try may help."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from factory.errors import UserError
from factory.storage.urls import is_local

_RENEW = "If the credentials have expired, renew them and run the same command again."
_GIVE = (
    "Give credentials that may use it in the environment or in the store's own profile files, and "
    "renew them if they have expired; or name another place."
)
_NO_CREDENTIALS = {
    *("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"),
    *("TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError"),
    *("DefaultCredentialsError", "RefreshError", "ClientAuthenticationError"),
}
"""Names of the errors that the packages of S3, GCS and Azure raise without asking the store."""
_MALFORMED_REQUEST = {"ParamValidationError", "InvalidURL"}
_RETRYABLE_STATUSES = (408, 409, 412, 425, 429)
"""HTTP statuses 4xx after which the same call may succeed."""
_RETRYABLE_CODES = {"RequestTimeout", "BadDigest", "IncompleteBody"}
"""S3's codes with status 400 for a request that was broken on its way."""
_PERMANENT = (
    PermissionError,
    FileNotFoundError,
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
)
_PERMANENT_NUMBERS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENOSYS,
    errno.ENOTSUP,
)
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED)
_NO_CONNECTION = {"ConnectTimeout", "ConnectTimeoutError", "ConnectionTimeoutError"}
"""Names of the errors that the stores' packages raise where a host takes no connection in time."""
_answered: set[str] = set()
"""The protocols and buckets, or owners, that have answered a call of this process."""


class UnreachableHost(OSError):
    """The host of a store cannot be found or connected to, and never was by this process: the name
    may be wrong, or there is no network. Of one that was, the same is an outage."""


class NotAdmitted(PermissionError):
    """A store rejects a call, and never answered one of this process: credentials are missing or
    wrong, or the place is that of somebody else. Where it has answered, they may have expired."""


NEVER_ANSWERED = (UnreachableHost, NotAdmitted)
"""The errors of places of which nothing was ever read or written by this process."""


@contextmanager
def as_os_errors(url: str) -> Iterator[None]:
    """Turns every error of a store's package into an OSError that names the URL: a PermissionError
    if the store rejects the call or no credentials are found, NotAdmitted if it never did
    otherwise, an UnreachableHost if nothing at all answers."""
    place = "/".join(url.split("/")[:3])
    try:
        yield
        if not is_local(url):
            _answered.add(place)
    except (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, UserError):
        raise
    except Exception as error:
        if is_local(url):
            raise
        if _is_rejection(error):
            why = describe(error).rstrip(".")
            if place not in _answered:
                raise NotAdmitted(errno.EACCES, f"{why}. {_GIVE}", url) from error
            raise PermissionError(errno.EACCES, f"{why}. {_RENEW}", url) from error
        if place not in _answered and _has_no_connection(error):
            why = f"{type(error).__name__}: {describe(error)}".rstrip(".")
            told = f"the host cannot be reached; check the network or the name ({why})"
            raise UnreachableHost(errno.EHOSTUNREACH, told, url) from error
        if isinstance(error, OSError):
            raise with_url(error, url) from error.__cause__
        raise OSError(errno.EIO, f"{type(error).__name__}: {error}", url) from error


def _has_no_connection(error: BaseException | None) -> bool:
    """True if an error was caused by a host that has no address, or takes no connection."""
    while error is not None:
        if isinstance(error, socket.gaierror) or type(error).__name__ in _NO_CONNECTION:
            return True
        if isinstance(error, OSError) and error.errno in _NO_WAY:
            return True
        error = error.__cause__ or error.__context__
    return False


def with_url(error: OSError, url: str) -> OSError:
    """The error with the URL that it concerns: for a full disk, the system names no file."""
    if error.strerror is None:
        return OSError(errno.EIO, str(error) or type(error).__name__, url)
    error.filename = error.filename or url
    return error


def is_transient(error: OSError) -> bool:
    """True if the same call may well succeed a little later."""
    if isinstance(error, _PERMANENT) or error.errno in _PERMANENT_NUMBERS:
        return False
    malformed = type(error.__cause__).__name__ in _MALFORMED_REQUEST
    return not malformed and not _is_rejection(error) and not _is_rejection(error.__cause__)


def _is_rejection(error: BaseException | None) -> bool:
    """True if the store rejected the call permanently, or no credentials were found."""
    if isinstance(error, PermissionError) or type(error).__name__ in _NO_CREDENTIALS:
        return True
    if isinstance(error, TimeoutError | FileNotFoundError | FileExistsError):
        return False
    status, code = _response(error) or _response(getattr(error, "__cause__", None)) or (0, "")
    retryable = status in (404, *_RETRYABLE_STATUSES) or code in _RETRYABLE_CODES
    return 400 <= status < 500 and not retryable


def _response(error: BaseException | None) -> tuple[int, str] | None:
    """The HTTP status and the code of an S3 server; the status alone of others."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return int(status), str(response.get("Error", {}).get("Code", ""))
    for holder in (error, response):
        for name in ("status_code", "code", "status"):
            if isinstance(status := getattr(holder, name, None), int):
                return status, ""
    return None


def lack_of_credentials(error: BaseException | None) -> str | None:
    """The store's message if an error was caused by missing credentials, else None."""
    while error is not None:
        if type(error).__name__ in _NO_CREDENTIALS:
            return " ".join(str(error).split()).rstrip(".")
        error = error.__cause__ or error.__context__
    return None


def describe(error: Exception) -> str:
    """The error's reason in words that do not repeat the URL."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def to_user_error(url: str, error: Exception, cannot: str, remedy: str) -> UserError:
    """The UserError for a URL that could not be reached in several tries, or never can be.

    >>> print(to_user_error("s3://b", PermissionError(13, "Denied"), "read", "Check the place."))
    s3://b: cannot be read (Denied). Check the place.
    """
    why = " ".join(describe(error).split()).rstrip(".")
    if isinstance(error, UnreachableHost):
        return UserError(f"{url}: {why}.")
    if isinstance(error, OSError) and is_transient(error):
        return UserError(
            f"{url}: cannot be reached now ({why}). Check the place and the network, or run the "
            "same command again later."
        )
    return UserError(f"{url}: cannot be {cannot} ({why}). {remedy}")
