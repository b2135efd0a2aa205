"""Files in which other tools keep their classes beside much else, as forms of
`factory.data.classes.class_forms`.

Sources: ultralytics' data.yaml (`names`), nnU-Net's dataset.json (`labels`), a JSON of COCO's form
(`categories`), MMSegmentation's metainfo (`classes`, `palette`), Mapillary Vistas' config.json
(`labels`, a list), Supervisely's obj_class_to_machine_color.json and meta.json, the labels of
cityscapesScripts as a list.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from factory.data.classes.class_forms import means_ignored
from factory.errors import UserError, some


def plain(content: object, location: str) -> object:
    """What a file holds without what is none of the classes. Raises UserError for files that name
    classes, but not their values."""
    if isinstance(content, list) and _all_have(content, "name", "id", "ignoreInEval"):
        return _of_cityscapes(content)
    if not isinstance(content, Mapping) or content.keys() & {"id2label", "label2id"}:
        return content
    if content and all(map(_is_rgb, content.values())):
        return _of_machine_colors(content)
    if isinstance(names := content.get("names"), Mapping | list):
        return names
    labels, categories = content.get("labels"), content.get("categories")
    if isinstance(labels, Mapping):
        return _of_nnunet(labels)
    if isinstance(labels, list) and _all_have(labels, "name"):
        return [_with_color(entry, i) for i, entry in enumerate(labels)]
    if isinstance(categories, list) and _all_have(categories, "name", "id"):
        return [_with_color(entry, entry["id"]) for entry in categories]
    classes, palette = content.get("classes"), content.get("palette")
    if isinstance(classes, list) and _all_have(classes, "title"):
        raise UserError(_about_supervisely(classes, location))
    if isinstance(classes, list) and isinstance(palette, list) and len(palette) == len(classes):
        return [{"name": n, "color": c} for n, c in zip(classes, palette, strict=True)]
    return content


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
    titles = [str(entry["title"]) for entry in classes]
    values = ", ".join(f'"{i}": "{title}"' for i, title in enumerate(["background", *titles[:6]]))
    return (
        f"{location}: is a project of Supervisely with the classes {some(titles)}, which does not "
        "say what values they have in masks. Use the obj_class_to_machine_color.json of its export "
        f"as masks, or a file of the values, such as {{{values}}}."
    )
