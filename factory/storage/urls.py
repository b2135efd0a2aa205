"""URLs and paths: which are accepted, and how they are joined and taken apart."""

import os
import re
from pathlib import Path

from factory.errors import UserError
from factory.storage import hub

PROTOCOLS = ("file", "s3", "gs", "gcs", "az", "abfs", "hf", "memory")
_EXAMPLES = {
    **{name: f"{name}://bucket/prefix" for name in ("s3", "gs", "gcs", "az", "abfs")},
    "hf": "hf://owner/name, or hf://datasets/owner/name",
}
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_MAX_NAME, _MAX_PATH = 255, 4095
"""The bytes that Linux takes at most."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def normalize(url: str | os.PathLike[str]) -> str:
    """An absolute path, or a URL of one of PROTOCOLS, without a trailing slash.

    Raises UserError for other protocols, chained URLs, secrets in the URL, control characters,
    names that no disk takes, URLs with `..`, and values that are neither text nor a Path; its
    message repeats no secret.
    """
    if not isinstance(url, str | os.PathLike):
        raise UserError(f"url: must be of type str or PathLike, got {type(url).__name__}.")
    url = os.fspath(url)
    if not url.strip():
        raise UserError("an empty path: name a folder or a URL such as s3://bucket/prefix.")
    protocol, separator, rest = url.partition("://")
    if problem := _url_problem(protocol, rest) if separator else _path_problem(url):
        raise UserError(f"{_without_secrets(url)}: {problem}")
    if separator and protocol != "file":
        return url.rstrip("/")
    # A Path would drop the ./ of ./~name, and take it for a home folder.
    return str(Path(os.path.expanduser(rest if separator else url)).absolute())


def check_url(url: str) -> None:
    """Raises UserError for a URL with a protocol that `normalize` would refuse."""
    protocol, _, rest = url.partition("://")
    if problem := _url_problem(protocol, rest):
        raise UserError(f"{_without_secrets(url)}: {problem}")


def _without_secrets(url: str) -> str:
    """The URL as it may be shown: no more than the protocol if it may hold a secret, and no control
    character.

    A password may hold any character, so everything behind the protocol counts as one.
    """
    protocol, separator, rest = url.partition("://")
    if "@" in url or "?" in url or ":" in rest.partition("/")[0]:
        url = f"{protocol}{separator}..." if _SCHEME.fullmatch(f"{protocol}:") else "..."
    return _CONTROLS.sub("?", url)


def _path_problem(path: str) -> str | None:
    if _CONTROLS.search(path):
        return "control characters are in it. Choose another name."
    if "::" in path:
        return "`::` chains places of several protocols, which is not done. Choose another name."
    if scheme := _SCHEME.match(path):
        protocol = scheme[0].lower().removesuffix(":")
        example = f"Write {_EXAMPLES[protocol]}. " if protocol in _EXAMPLES else ""
        return f"is neither a path nor a URL. {example}Write a path that has a colon as ./NAME."
    if os.path.expanduser(path).startswith("~"):
        return "there is no such home folder. Write a path that begins with ~ as ./NAME."
    return _length_problem(path)


def _length_problem(path: str) -> str | None:
    encoded = os.fsencode(path)
    if len(encoded) <= _MAX_PATH and max(map(len, encoded.split(b"/"))) <= _MAX_NAME:
        return None
    return (
        f"no disk takes a name of more than {_MAX_NAME} bytes, or a path of more than "
        f"{_MAX_PATH:,}. Choose a shorter one."
    )


def _url_problem(protocol: str, rest: str) -> str | None:
    authority = rest.partition("/")[0]
    if _CONTROLS.search(protocol + rest):
        return "control characters are in it. Write it without them."
    is_page = protocol.lower() in ("http", "https")
    # Of a page, a colon begins its port.
    if "@" in protocol + authority or "?" in rest or (":" in authority and not is_page):
        return (
            "a URL must not carry a user name or a secret, nor a query, which may be one. "
            "Use the environment or the cloud's own profile files."
        )
    if is_page and (url := hub.url_of_page(rest)):
        return f"is a web page. Write {url}."
    if protocol not in PROTOCOLS:
        return (
            f"protocol {protocol!r} is not one of {', '.join(PROTOCOLS)}. "
            "Give a path, or a URL of one of these."
        )
    if "::" in rest or ".." in rest.split("/"):
        return "chained places (`::`) and `..` are not followed. Name the place itself."
    if protocol == "file" and not rest.startswith("/"):
        return "a file's URL names no machine: it starts with three slashes, file:///folder."
    if protocol == "file":
        return _length_problem(rest)
    if not authority and protocol not in ("file", "memory"):
        return f"names no bucket. Write {_EXAMPLES[protocol]}."
    if protocol == "hf" and len(rest.strip("/").split("/")) < (3 if authority == "datasets" else 2):
        return f"names no repository. Write {_EXAMPLES['hf']}."
    return None


def is_local(url: str) -> bool:
    """True for a path of this machine, False for a URL of a store."""
    return "://" not in url


def lies_in(url: str, folder: str) -> bool:
    """True if a URL is that of a folder, or of something in it; links of this machine are
    followed."""
    return path_in(url, folder) is not None


def path_in(url: str, folder: str) -> str | None:
    """The path of a URL below that of a folder, empty if it is that one; None if it does not lie
    there. Links of this machine are followed."""
    if is_local(url) and is_local(folder):
        url, folder = resolved(url), resolved(folder)
    above, inside = f"{folder.rstrip('/')}/", f"{url}/"
    return inside.removeprefix(above).rstrip("/") if inside.startswith(above) else None


def resolved(url: str) -> str:
    """The URL by which a place is known however it is named: links of this machine are followed."""
    return os.path.realpath(url) if is_local(url) else url


def join(url: str, *names: str) -> str:
    """The URL of a file or folder below url; url itself without names."""
    return "/".join([url.rstrip("/"), *names])


def name_of(url: str) -> str:
    """The last part of a path or URL."""
    return url.rstrip("/").rsplit("/", 1)[-1]


def parent(url: str) -> str | None:
    """The folder that holds a file or folder; None for the root of a disk, a bucket or a repository
    of the Hugging Face Hub."""
    protocol, separator, rest = url.rstrip("/").rpartition("://")
    num_root_parts = {"": 1, "hf": 3 if rest.startswith("datasets/") else 2}.get(protocol, 1)
    parts = rest.split("/")
    return f"{protocol}{separator}{'/'.join(parts[:-1])}" if len(parts) > num_root_parts else None
