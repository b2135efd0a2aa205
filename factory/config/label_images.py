"""Images that a command names in place of those of a config: what of `label.source` stays."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from factory import storage
from factory.data.kinds.folder import FolderSource
from factory.data.kinds.known import all_keys
from factory.errors import UserError

_CHOOSING = ("num", "names_url", "names_key")
"""Keys that choose among the images of one place, and say nothing of those of another."""


def in_place_of(source: object, folder: Mapping[str, str]) -> tuple[dict[str, Any], str | None]:
    """The keys of a source of the images below a folder, with those of a config's source that hold
    for them, too; and a line on what is kept and what is not, None if there is nothing to tell.

    source: label.source as the config has it, not parsed yet. folder: kind and url. All of a source
    of that very url is kept.
    """
    if not isinstance(source, Mapping):
        return dict(folder), None
    kind = source.get("kind")
    defaults = all_keys({"kind": kind} if isinstance(kind, str) else {})
    own = {k: v for k, v in source.items() if v is not None and v != defaults.get(k)}
    own = {key: value for key, value in own.items() if key not in ("kind", "url")}
    if _is_same(source.get("url"), folder["url"]):
        return dict(source), _told(own, {}, kind)
    kept = {k: v for k, v in own.items() if k in FolderSource.model_fields and k not in _CHOOSING}
    left = {key: value for key, value in own.items() if key not in kept}
    return {**kept, **folder}, _told(kept, left, kind)


def _is_same(url: object, other: str) -> bool:
    """True if both are one place; what is wrong with either is told where it is read."""
    with suppress(UserError):
        one, two = storage.normalize(str(url)), storage.normalize(other)
        return storage.lies_in(one, two) and storage.lies_in(two, one)
    return False


def _told(kept: Mapping[str, Any], left: Mapping[str, Any], kind: object) -> str | None:
    parts = [f"{', '.join(kept)} of label.source kept"] if kept else []
    if left:
        of_kind = "" if kind == "folder" else f" (of kind {kind})"
        parts.append(
            f"{', '.join(left)}{of_kind} not used; --set label.source.url=... in place of IMAGES "
            "keeps all"
        )
    return f"label | IMAGES instead of those of the config: {'; '.join(parts)}" if parts else None
