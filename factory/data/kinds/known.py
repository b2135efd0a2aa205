"""The kinds of source that a config can name, a module each.

A new kind is a module like `folder`, whose section has the methods of
`factory.data.items.StoredSource`, and its class in the union `KnownSource`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field

from factory.data.kinds.auto import AutoSource
from factory.data.kinds.coco import CocoSource
from factory.data.kinds.folder import FolderSource
from factory.data.kinds.labelme import LabelmeSource
from factory.data.kinds.pairs import PairsSource
from factory.data.kinds.parquet import ParquetSource
from factory.data.kinds.toy import ToySource
from factory.data.kinds.webdataset import WebdatasetSource
from factory.data.kinds.yolo import YoloSource
from factory.data.sections import SourceSection

KnownSource = (
    ToySource
    | FolderSource
    | PairsSource
    | ParquetSource
    | WebdatasetSource
    | CocoSource
    | YoloSource
    | LabelmeSource
    | AutoSource
)
_KINDS: dict[str, type[SourceSection]] = {
    section.model_fields["kind"].default: section for section in get_args(KnownSource)
}
_DEFAULT_KIND, *_OTHER_KINDS = _KINDS


def own_keys(source: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a source that its kind reads, and those that no kind knows.

    Version 0.1 stored the keys of all kinds with each source.
    """
    foreign = _foreign_keys(source.get("kind", _DEFAULT_KIND))
    return {key: value for key, value in source.items() if key not in foreign}


def all_keys(source: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a stored source that its kind reads, with the defaults of those that it lacks.

    An older version stored no keys that it did not have, and read images by their defaults.
    """
    kind = source.get("kind", _DEFAULT_KIND)
    fields = _KINDS[kind].model_fields if kind in _KINDS else {}
    defaults = {key: field.default for key, field in fields.items() if not field.is_required()}
    return {**defaults, **own_keys(source)}


def _foreign_keys(kind: object) -> dict[str, Any]:
    """The keys that only other kinds read, with their defaults; none for an unknown kind."""
    if not isinstance(kind, str) or kind not in _KINDS:
        return {}
    return {
        key: field.default
        for section in _KINDS.values()
        for key, field in section.model_fields.items()
        if key not in _KINDS[kind].model_fields
    }


def _check_keys(value: object) -> object:
    """A source's own keys; raises ValueError if it sets one of another kind.

    Whoever sets one means that kind, unless it has its default, which stored configs spell out.
    """
    if not isinstance(value, Mapping):
        return value
    kind = value.get("kind", _DEFAULT_KIND)
    foreign = _foreign_keys(kind)
    if unread := [key for key in foreign if value.get(key) not in (None, foreign[key])]:
        kinds = [*_OTHER_KINDS, _DEFAULT_KIND]
        reading = [name for name in kinds if set(unread) <= _KINDS[name].model_fields.keys()]
        purposes = [f"kind: {name} for {_KINDS[name].purpose}" for name in reading or kinds]
        raise ValueError(
            f"kind {kind} does not read {', '.join(unread)}. Set {', '.join(purposes)}; or leave "
            "these keys out."
        )
    return {"kind": kind, **own_keys(value)}


SourceConfig = Annotated[KnownSource, Field(discriminator="kind"), BeforeValidator(_check_keys)]
"""A section that is a source of one of the kinds: the first of the union if it names none."""
