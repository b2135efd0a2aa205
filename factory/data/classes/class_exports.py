"""Files in which other tools keep their classes beside much else, as forms of
`factory.data.classes.class_forms`.

Sources: ultralytics' data.yaml (`names`), nnU-Net's dataset.json (`labels`), a JSON of COCO's form
(`categories`), MMSegmentation's metainfo (`classes`, `palette`), Mapillary Vistas' config.json
(`labels`, a list), Supervisely's obj_class_to_machine_color.json and meta.json, CVAT's labels as
JSON, Label Studio's labels as objects, the labels of cityscapesScripts as a list, and any other
list of objects whose keys `factory.data.classes.class_tables` knows.
"""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from factory.data.classes import class_tables
from factory.data.classes.class_forms import ENTRY_KEYS, means_ignored
from factory.errors import UserError, some

_ON_BLACK = (("attributes", "name", "color"), ("title",), ("value", "background"))
"""The keys of classes of CVAT, Supervisely and Label Studio, whose masks are drawn in the colours
of the classes, and black where there is none. Ids there are those of their databases."""
_GROUND, _BLACK = "background", (0, 0, 0)
_ALIKE = 0.75
"""A key that is so much like one of ours is meant to be it."""


def plain(content: object, location: str) -> object:
    """What a file holds without what is none of the classes. Raises UserError for files that name
    classes, but not their values."""
    if isinstance(content, list):
        return _of_list(content, location)
    if not isinstance(content, Mapping) or content.keys() & {"id2label", "label2id"}:
        return content
    if content and all(map(_is_rgb, content.values())):
        return _of_machine_colors(content)
    if isinstance(names := content.get("names"), Mapping | list):
        return names
    labels, categories = content.get("labels"), content.get("categories")
    if isinstance(labels, Mapping):
        return _of_nnunet(labels)
    for entries in (labels, categories):
        if isinstance(entries, list) and _all_have(entries):
            return _of_list(entries, location, of_positions=True)
    classes, palette = content.get("classes"), content.get("palette")
    if isinstance(classes, list) and isinstance(palette, list) and len(palette) == len(classes):
        return [{"name": n, "color": c} for n, c in zip(classes, palette, strict=True)]
    if isinstance(classes, list) and (of_list := _of_list(classes, location)) is not classes:
        return of_list
    if content and "classes" not in content and _all_have([*content.values()]):
        return _of_list(_with_keys(content), location)
    return content


def _of_list(entries: list[Any], location: str, of_positions: bool = False) -> object:
    """The classes of a list of objects; the list itself where its objects are in our own form.

    of_positions: whether the list is another tool's, so that each class without a value has that of
    its place.
    """
    if not _all_have(entries):
        return entries
    if _all_have(entries, "name", "id", "ignoreInEval"):
        return _of_cityscapes(entries)
    if any(_all_have(entries, *marks) for marks in _ON_BLACK):
        return _drawn_on_black(entries, location)
    keys = {str(key) for entry in entries for key in entry}
    if not of_positions and _are_ours(keys):
        return entries
    found = class_tables.of_objects(entries, location)
    if found is None and not (of_positions and _all_have(entries, "name")):
        return entries
    if found is not None and "ids" in found[0]:
        return found
    named = [{"name": e["name"], "color": _shown(e)} for e in found or entries]
    return [{**e, "ids": [i]} for i, e in enumerate(named)] if of_positions else named


def _are_ours(keys: Collection[str]) -> bool:
    """True of objects in the form of `factory.data.classes.class_forms`, or meant to be so."""
    others = [key for key in keys if key not in ENTRY_KEYS]
    strange = [key for key in others if not class_tables.knows(key)]
    return (
        not others
        or len(keys) - len(others) > len({"name", "id", "color"}.intersection(keys))
        or any(get_close_matches(key, ENTRY_KEYS, cutoff=_ALIKE) for key in strange)
    )


def _shown(entry: Mapping[str, Any]) -> object:
    """The colour that a class of a table is shown in, if it has one."""
    return next(iter(entry.get("colors", ())), None)


def _with_keys(content: Mapping[Any, Any]) -> list[dict[str, Any]]:
    """The objects of {id: object} or {name: object}, each with its key as one of its own."""
    are_ids = all(str(key).isdigit() for key in content)
    return [{"id": int(k), **v} if are_ids else {"name": k, **v} for k, v in content.items()]


def _drawn_on_black(entries: Sequence[Mapping[str, Any]], location: str) -> list[dict[str, Any]]:
    """Classes by their colours, and the background, which is black. Raises UserError without
    colours."""
    without_ids = [{key: v for key, v in e.items() if key != "id"} for e in entries]
    found = class_tables.of_objects(without_ids, location)
    if found is None:
        raise UserError(_about_supervisely(entries, location))
    has_ground = any(entry["name"] == _GROUND or _shown(entry) == _BLACK for entry in found)
    return found if has_ground else [{"name": _GROUND, "colors": [_BLACK]}, *found]


def _all_have(entries: Sequence[object], *keys: str) -> bool:
    return bool(entries) and all(
        isinstance(entry, Mapping) and all(key in entry for key in keys) for entry in entries
    )


def _is_rgb(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(v) is int for v in value)


def _with_color(entry: Mapping[str, Any], value: object) -> dict[str, Any]:
    """A class of this value, shown in its colour if it has one."""
    color = entry.get("color")
    return {"name": entry["name"], "ids": [value], "color": color if _is_rgb(color) else None}


def _of_cityscapes(labels: Sequence[Mapping[str, Any]]) -> object:
    """Classes by their ids; those that are not evaluated are ignored, and -1 is in no mask."""
    ignored = [entry["id"] for entry in labels if entry["ignoreInEval"]]
    return {
        "classes": [
            _with_color(entry, entry["id"]) for entry in labels if not entry["ignoreInEval"]
        ],
        "ignore": {"ids": [i for i in ignored if i != -1]},
    }


def _of_nnunet(labels: Mapping[str, Any]) -> object:
    """{name: value} or {value: name}; regions are lists of values, and `ignore` is no class."""
    if all(isinstance(value, str) for value in labels.values()):
        return dict(labels)
    ignored = [value for name, value in labels.items() if means_ignored(name)]
    classes = [
        {"name": name, "ids": value} for name, value in labels.items() if not means_ignored(name)
    ]
    return {"classes": classes, "ignore": {"ids": ignored}} if ignored else classes


def _of_machine_colors(colors: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Classes by their values where all colours are grey, else by their colours.

    Such values count from 1: 0 is what no object covers.
    """
    if all(len(set(color)) == 1 for color in colors.values()):
        values = {name: color[0] for name, color in colors.items()}
        if 0 not in values.values() and "background" not in values:
            values = {"background": 0, **values}
        return [{"name": name, "ids": [value]} for name, value in values.items()]
    return [{"name": name, "colors": [color]} for name, color in colors.items()]


def _about_supervisely(classes: Sequence[Mapping[str, Any]], location: str) -> str:
    titles = [str(next(iter(entry.values()))) for entry in classes]
    values = ", ".join(f'"{i}": "{title}"' for i, title in enumerate(["background", *titles[:6]]))
    return (
        f"{location}: is a project of Supervisely with the classes {some(titles)}, which does not "
        "say what values they have in masks. Use the obj_class_to_machine_color.json of its export "
        f"as masks, or a file of the values, such as {{{values}}}."
    )
