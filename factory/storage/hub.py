"""Recognises addresses, names and pointer files of the Hugging Face Hub."""

import os
import re

_PAGE = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(.+)", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?:@[\w.-]+)?")
_POINTER = b"version https://git-lfs.github.com/spec/"


def url_of_page(page: str) -> str | None:
    """The URL of the repository that a page of the Hub's website shows; None for other pages.

    >>> url_of_page("https://huggingface.co/datasets/owner/name/tree/v2/data")
    'hf://datasets/owner/name@v2/data'
    """
    found = _PAGE.fullmatch(page)
    parts = found[1].strip("/").split("/") if found else []
    kind = parts.pop(0) if parts[:1] in (["datasets"], ["spaces"]) else None
    if len(parts) < 2 or not _NAME.fullmatch("/".join(parts[:2])):
        return None
    name, view, revision, folder = "/".join(parts[:2]), parts[2:3], parts[3:4], parts[4:]
    if view in (["blob"], ["resolve"], ["raw"]):
        folder = folder[:-1]
    if revision not in ([], ["main"]):
        name += f"@{revision[0]}"
    return "hf://" + "/".join([*([kind] if kind else []), name, *folder])


def url_of_name(path: str, kind: str = "") -> str | None:
    """The URL of a path that does not exist, but reads like a name of the Hub; else None.

    kind: "" for models, "datasets/" for datasets.
    """
    if not path or "://" in path or os.path.exists(path):
        return None
    written = os.path.relpath(path)
    if page := url_of_page(written):
        return page
    name = written.removeprefix(kind)
    return f"hf://{kind}{name}" if _NAME.fullmatch(name) else None


def pointer_problem(data: bytes) -> str | None:
    """The problem of a file's bytes if they are only a pointer to the file; else None."""
    if not data.startswith(_POINTER):
        return None
    return (
        "is a pointer of Git LFS, which stands for the file. Run `git lfs pull` where it was "
        "cloned to, or download the file itself."
    )
