"""The section of some keys, and its classes, for `auto` and `factory init`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from factory.classes import MAX_CLASSES
from factory.data.files.patterns import parse_images, parse_masks
from factory.data.kinds import class_keys
from factory.data.kinds.class_keys import ClassKeys
from factory.data.kinds.coco import CocoSource
from factory.data.kinds.folder import FolderSource
from factory.data.kinds.labelme import LabelmeSource
from factory.data.kinds.pairs import PairsSource
from factory.data.kinds.parquet import ParquetSource
from factory.data.kinds.webdataset import WebdatasetSource
from factory.data.kinds.yolo import YoloSource
from factory.data.recognizing.layouts import LAYOUTS
from factory.data.sections import OF_VALUES
from factory.errors import Problems

if TYPE_CHECKING:
    from factory.data.classes.class_lookup import Value
    from factory.data.classes.class_rules import ClassRules
    from factory.data.files.trees import Tree
    from factory.data.recognizing.class_finding import ClassFile
    from factory.data.surveying.mask_sampling import MaskSample

Recognised = (
    FolderSource
    | PairsSource
    | ParquetSource
    | WebdatasetSource
    | CocoSource
    | YoloSource
    | LabelmeSource
)
"""A section of one of the kinds that are recognised."""
_SECTIONS: dict[str, type[Recognised]] = {
    "folder": FolderSource,
    "pairs": PairsSource,
    "parquet": ParquetSource,
    "webdataset": WebdatasetSource,
    "coco": CocoSource,
    "yolo": YoloSource,
    "labelme": LabelmeSource,
}
"""The kinds that are recognised."""
DRAWN = ("coco", "yolo", "labelme")
"""Kinds whose masks are drawn, so that no values are looked into."""
_DRAWING_CROWDS = {"crowds": "draw"}
"""The key without which COCO's JSON is refused where a category has regions of crowds alone."""
_MAX_TEXTS = 1000
"""The most text files that are looked into for numbers of classes, evenly spread."""
_ANY_CLASSES = ["0", "1"]
"""Stand for classes where masks are not read."""


def section(keys: Mapping[str, Any], with_any_classes: bool = False) -> Recognised:
    """The section of these keys. with_any_classes: where it is not asked for masks that mean
    something. Raises ValidationError."""
    kind = _SECTIONS[keys["kind"]]
    own = keys_of_kind(keys["kind"], keys)
    if with_any_classes and "classes" in kind.model_fields:
        own = {**own, "classes": _ANY_CLASSES, "ignore": None, "classes_url": None}
    return kind.model_validate(own)


def keys_of_kind(kind: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the keys that sections of a kind have, and that have an effect there."""
    unread = OF_VALUES if kind in DRAWN else ()
    fields = _SECTIONS[kind].model_fields
    return {key: value for key, value in keys.items() if key in fields and key not in unread}


def classes_of(
    keys: Mapping[str, Any], tree: "Tree", problems: Problems, *others: Mapping[str, Any]
) -> ClassKeys | None:
    """The classes of a section with masks: of a file beside them, its own, or by what they hold.

    keys: of the section, without classes. others: of further sections that have the same classes,
    whose masks are looked into, too. None after a problem. Raises OSError.
    """
    from factory.data.recognizing import class_finding

    found = _classes_of(keys, tree, problems, others)
    if found is None or not found.is_guess:
        return found
    unread = class_finding.not_read(tree, *_folders_of(keys, tree))
    return replace(found, doubts=(*found.doubts, *unread))


def _classes_of(
    keys: Mapping[str, Any],
    tree: "Tree",
    problems: Problems,
    others: Sequence[Mapping[str, Any]],
) -> ClassKeys | None:
    """The same, without what files say that cannot be read."""
    from factory.data.recognizing import class_finding

    if keys.get("layout") and "{part}" in LAYOUTS[keys["layout"]].masks:
        return ClassKeys({}, "of the layout", names=_names_of_layout(keys))
    if keys["kind"] != "pairs" and (rules := _rules_of(keys)):
        return _of_the_files(keys, rules.classes.names, others)
    if keys["kind"] == "coco" and _rules_of({**keys, **_DRAWING_CROWDS}) is not None:
        drawn = [{**other, **_DRAWING_CROWDS} for other in others]
        found = _classes_of({**keys, **_DRAWING_CROWDS}, tree, problems, drawn)
        return found and replace(found, keys={**found.keys, **_DRAWING_CROWDS})
    files = class_finding.class_files_in(tree, *_folders_of(keys, tree))
    if keys["kind"] in DRAWN:
        return _of_drawn(keys, files, problems, others)
    if "{part}" in keys.get("masks", ""):
        return _of_parts(keys, problems, others)
    sample = masks_of(keys, problems, others)
    if sample is None:
        return None
    if found := class_keys.of_file_that_fits(files, sample):
        return found
    if keys.get("layout") and _layout_covers(keys, sample):
        names = tuple(_names_of_layout(keys))
        doubt = f"whether the classes are those of {keys['layout']}, such as {names[1]}"
        return ClassKeys({}, "of the layout", doubts=(doubt,), names=names)
    return class_keys.by_what_masks_hold(files, sample, keys["url"], problems)


def _of_the_files(
    keys: Mapping[str, Any], names: Sequence[str], others: Sequence[Mapping[str, Any]]
) -> ClassKeys:
    """The classes that a section brings; written down where others bring more, or other ones, or
    may do so: labelme's labels are those that occur, and parts of the images need not have all."""
    brought = [rules.classes.names for other in others if (rules := _rules_of(other))]
    source = "of the files themselves"
    if keys["kind"] not in DRAWN or (keys["kind"] != "labelme" and set(brought) <= {tuple(names)}):
        return ClassKeys({}, source, names=names)
    every = list(dict.fromkeys([*names, *(name for more in brought for name in more)]))
    return ClassKeys({"classes": every}, source, names=every)


def _folders_of(keys: Mapping[str, Any], tree: "Tree") -> list[str]:
    """The folders of a tree that a section reads: its own, and those of its patterns."""
    own = keys["url"].removeprefix(tree.url).strip("/")
    inner = []
    if keys["kind"] == "pairs" and not keys.get("layout"):
        inner = [parse_masks(keys.get("masks", "masks")).below]
        inner += [parse_images(keys.get("images", "images")).below]
    return [own, *("/".join(filter(None, (own, folder))) for folder in inner)]


def _of_parts(
    keys: Mapping[str, Any], problems: Problems, others: Sequence[Mapping[str, Any]]
) -> ClassKeys | None:
    """The classes by the names of parts; None after a problem."""
    from factory.data.items import ImageFile
    from factory.data.surveying import part_proposals

    any_part = {"classes": ["rest", {"name": "part", "parts": ["*"]}]}
    found = [section({**keys, **any_part}).find(True, problems)]
    found += [
        section({**other, **any_part}).find(True, Problems())
        for other in others
        if "{part}" in other.get("masks", "")
    ]
    items = [item for one in found for item in one.items if isinstance(item, ImageFile)]
    if not found[0].items:
        return None
    classes = part_proposals.propose([[part.name for part in item.parts] for item in items])
    names = tuple(entry if isinstance(entry, str) else str(entry["name"]) for entry in classes)
    order = "the order of the classes: later ones are drawn over earlier ones"
    doubts = (order,) if len(names) > 2 else ()
    return ClassKeys({"classes": classes}, "by the names of the parts", True, doubts, names)


def masks_of(
    keys: Mapping[str, Any], problems: Problems, others: Sequence[Mapping[str, Any]] = ()
) -> "MaskSample | None":
    """What some masks of a section hold, and those of others that have the same classes; None after
    a problem. Raises OSError."""
    from factory.data.surveying import mask_sampling

    before = len(problems.found)
    found = section(keys, with_any_classes=True).find(True, problems)
    if not found.items:
        if len(problems.found) == before:
            problems.add(
                f"{keys['url']}: no image has a mask. Say where the masks lie: kind: pairs, with "
                "`images:` and `masks:`."
            )
        return None
    samples = mask_sampling.Samples()
    sample = samples.of(found.items)
    if not sample.files:
        problems.found.extend(sample.problems)
        return None
    sources = [found.items]
    for other in others:
        if other["kind"] in DRAWN or "{part}" in other.get("masks", ""):
            continue
        # What is wrong with them is told where their images are listed.
        items = section(other, with_any_classes=True).find(True, Problems()).items
        if items and (why := mask_sampling.why_apart(sample, samples.of(items))):
            problems.add(
                f"{other['url']} and {keys['url']}: {why}, so that no classes are those of both. "
                "Save both alike, or leave one of them out: a part of the labelled images is then "
                "measured on."
            )
            return None
        sources += [items] if items else []
    return samples.of(*sources) if len(sources) > 1 else sample


def _of_drawn(
    keys: Mapping[str, Any],
    files: "Sequence[ClassFile]",
    problems: Problems,
    others: Sequence[Mapping[str, Any]],
) -> ClassKeys | None:
    """The classes of masks that are drawn: those of the first file that fits."""
    if keys["kind"] == "yolo":
        return _of_numbers(keys, files, problems, others)
    for file in files:
        if rules := _rules_of({**keys, "classes_url": file.url}):
            return ClassKeys({"classes_url": file.url}, f"of {file.url}", names=rules.classes.names)
    section(keys).find(True, problems)
    return None


def _of_numbers(
    keys: Mapping[str, Any],
    files: "Sequence[ClassFile]",
    problems: Problems,
    others: Sequence[Mapping[str, Any]],
) -> ClassKeys | None:
    """The classes of YOLO's numbers that no data.yaml names: of a file, which begins with the
    background or with number 0, else by the numbers that occur. Raises OSError."""
    from factory.data.drawn import labels, yolo

    items = section(keys, with_any_classes=True).find(True, problems).items
    of_others = [
        section(other, with_any_classes=True).find(True, Problems()).items
        for other in others
        if other["kind"] == "yolo"
    ]
    num = 1 + max(
        yolo.highest_class(some_items[:: max(1, len(some_items) // _MAX_TEXTS)])
        for some_items in (items, *of_others)
    )
    if not num:
        if items:
            problems.add(f"{keys['url']}: no text file has an outline. Export segments.")
        return None
    if num >= MAX_CLASSES:
        problems.add(
            f"{keys['url']}: text files have the class {num - 1:,}, but there are no more than "
            f"{MAX_CLASSES - 1} beside the background. Each line is a class from 0 on, and points."
        )
        return None
    for file in files:
        if labels.is_background(file.names[0]) and len(file.names) > num:
            return ClassKeys({"classes_url": file.url}, f"of {file.url}", names=file.names)
        if len(file.names) >= num:
            names = ["background", *file.names]
            doubt = f"whether {file.names[0]} is number 0 of the text files, and so on"
            source = f"the background, and those of {file.url}"
            return ClassKeys({"classes": names}, source, doubts=(doubt,), names=names)
    names = ["background", *(f"class_{i}" for i in range(num))]
    return ClassKeys({"classes": names}, "by the numbers in the text files", True, names=names)


def _rules_of(keys: Mapping[str, Any]) -> "ClassRules | None":
    """The classes that a section, or its files, name; None if something is wrong with them."""
    problems = Problems()
    found = section(keys).find(True, problems)
    return None if problems.found else found.rules


def _names_of_layout(keys: Mapping[str, Any]) -> Sequence[str]:
    """The names of a layout's classes."""
    found = section(keys)
    rules = found.read_rules(Problems()) if isinstance(found, PairsSource) else None
    return rules.classes.names if rules else ()


def _layout_covers(keys: Mapping[str, Any], sample: "MaskSample") -> bool:
    """True if the values of the masks are of a layout's classes, and most pixels are of one."""
    from factory.data.recognizing import class_finding

    found = section(keys)
    rules = found.read_rules(Problems()) if isinstance(found, PairsSource) else None
    if rules is None or not class_finding.covers(rules, sample):
        return False
    pixels = sample.pixels
    values: list[Value] = [*rules.ignored.ids, *rules.ignored.colors]
    return 2 * sum(pixels[value] for value in values) < pixels.total()
