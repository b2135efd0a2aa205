"""Sections that read images whose masks are drawn: by JSONs of COCO or labelme, or YOLO's texts."""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from factory.data.files.split_words import SPLITS
from factory.data.files.trees import Tree
from factory.data.recognizing import yolo_description
from factory.data.recognizing.candidates import Candidate, Files
from factory.errors import UnreadableImage, UserError, counted, some

_COCO_KEYS = (b'"images"', b'"annotations"', b'"categories"')
_INSTANCES = "instances"
"""The word in the names of those that outline objects, beside others of captions, keypoints, ..."""
_LABELME_KEYS = (b'"shapes"', b'"imagePath"')
_MAX_JSONS = 200
"""JSON files are looked into where they are no more: others are labels of single images."""
_NUM_LOOKED_INTO = 8
_NUM_OF_BOX = 5
_MIN_NUMBERS = 7
"""A class and three points; fewer are a box, which is no mask."""


def found_in(files: Files) -> Iterator[Candidate]:
    """Yields the sections that are there."""
    if files.pictures:
        yield from _coco(files) or _yolo(files) or _labelme(files)
    else:
        yield from _labelme_alone(files)


def _coco(files: Files) -> list[Candidate]:
    """Images, and COCO's JSONs of instances."""
    listed = [name for name in files.names if name.lower().endswith(".json")]
    if len(listed) > _MAX_JSONS:
        return []
    every = [name for name in listed if _holds(files.tree, name, _COCO_KEYS)]
    found = [name for name in every if _INSTANCES in _words(name)] or every
    keys = {"kind": "coco", "url": files.url}
    if len(every) == 1:
        return [Candidate(keys)]
    own = {name: _of_json(files, name) for name in found}
    split_of = {name: _split_in(name) for name in found}
    others = [name for name in every if name not in found]
    question = f"whether annotations are meant that are not used: {some(others)}" if others else ""
    if found and None not in split_of.values() and len(set(split_of.values())) == len(found):
        splits = {str(split): own[name] for name, split in split_of.items()}
        if len(splits) > 1:
            return [Candidate(keys, splits, needs_split=True, question=question)]
    return [Candidate({**keys, **more}, question=question) for more in own.values()]


def _of_json(files: Files, name: str) -> dict[str, str]:
    """The keys that read a JSON of several: with the folder of its images, where one is called as
    the end of its name is (instances_train2017.json beside train2017/)."""
    keys = {"annotations_url": files.tree.url_of(name)}
    last = PurePosixPath(name).stem.rpartition("_")[2]
    folders = {picture.rpartition("/")[0] for picture in files.pictures}
    alike = [folder for folder in folders if PurePosixPath(folder).name == last]
    return {"url": files.below(alike[0]), **keys} if len(alike) == 1 else keys


def _words(name: str) -> list[str]:
    """The words of a file's name, and then of its folders', in small letters."""
    parts = PurePosixPath(name.lower()).with_suffix("").parts
    return [word for part in reversed(parts) for word in re.findall("[a-z]+", part)]


def _split_in(name: str) -> str | None:
    """The split that a word of a file's name is, or of its folders': instances_val2017.json,
    valid/_annotations.coco.json."""
    return next((word for word in _words(name) if word in SPLITS), None)


def _yolo(files: Files) -> list[Candidate]:
    """Images, and texts of outlines; or the description of them."""
    labels = _texts_of_images(files)
    if not any(_has_outlines(files.tree, name) for name in _few(labels)):
        return []
    keys = {"kind": "yolo", "url": files.url}
    described = yolo_description.descriptions_among(files.tree, files.names)
    if len(described) != 1:
        return [Candidate(keys)]
    folder = described[0].rpartition("/")[0]
    if all(name.startswith(f"{folder}/") for name in labels):
        keys["url"] = files.below(folder)
    description = _description(files.tree, described[0])
    if description is None or len(description.splits) < 2:
        return [Candidate(keys)]
    missing = yolo_description.missing_splits(description, files.names)
    if "train" in missing:
        missing = []  # What is read then says what is not there.
    there = [split for split in description.splits if split not in missing]
    places = [f"{split}: {some(description.splits[split])}" for split in missing]
    question = f"whether {described[0]} is right: {some(places)} is not there" if places else ""
    splits = {split: {"split": split} for split in there}
    return [Candidate(keys, splits, needs_split=True, question=question)]


def boxes_beside(files: Files) -> str:
    """A sentence on YOLO's texts of boxes beside images, which are no masks; empty without any."""
    labels = _texts_of_images(files)
    found = [name for name in _few(labels) if _numbers(files.tree, name)]
    if not found or not all(
        len(line) == _NUM_OF_BOX for name in found for line in _numbers(files.tree, name)
    ):
        return ""
    return (
        f"{counted(len(labels), 'text file holds', 'text files hold')} boxes of YOLO, a class and "
        f"four numbers a line, as {found[0]} does: they are no outlines. Export segments in their "
        "place, or masks."
    )


def _texts_of_images(files: Files) -> list[str]:
    """The texts that YOLO has beside images; none if most images have none."""
    texts = {name for name in files.names if name.endswith(".txt")}
    labels = [
        name for image in files.pictures if (name := yolo_description.labels_name(image)) in texts
    ]
    return labels if 2 * len(labels) >= len(files.pictures) else []


def _few(names: Sequence[str]) -> Sequence[str]:
    return names[:: max(1, len(names) // _NUM_LOOKED_INTO)]


def _labelme(files: Files) -> list[Candidate]:
    """Images, and labelme's JSONs."""
    stems = {str(PurePosixPath(name).with_suffix("").name) for name in files.pictures}
    jsons = [
        name
        for name in files.names
        if name.lower().endswith(".json") and PurePosixPath(name).stem in stems
    ]
    if not _most_hold(files.tree, jsons, _LABELME_KEYS):
        return []
    lacking = {"unannotated": "skip"} if len(jsons) < len(files.pictures) else {}
    return [Candidate({"kind": "labelme", "url": files.url, **lacking})]


def _labelme_alone(files: Files) -> list[Candidate]:
    """labelme's JSONs that hold their images."""
    jsons = [name for name in files.names if name.lower().endswith(".json")]
    there = _most_hold(files.tree, jsons, (*_LABELME_KEYS, b'"imageData"'))
    return [Candidate({"kind": "labelme", "url": files.url})] if there else []


def _most_hold(tree: Tree, names: Sequence[str], words: Sequence[bytes]) -> bool:
    """True if most of a few files have all of these words; a damaged one is told by its reader."""
    few = _few(names)
    return 2 * sum(_holds(tree, name, words) for name in few) > len(few)


def _has_outlines(tree: Tree, name: str) -> bool:
    """True if all lines of a text are a class and an outline."""
    numbers = _numbers(tree, name)
    return bool(numbers) and all(len(line) >= _MIN_NUMBERS and len(line) % 2 for line in numbers)


def _numbers(tree: Tree, name: str) -> list[list[float]]:
    """The numbers of each line of a text; none if it holds others."""
    try:
        lines = tree.read(name).decode("utf-8-sig").split("\n")
        return [[float(word) for word in line.split()] for line in lines if line.strip()]
    except (OSError, UnreadableImage, ValueError):
        return []


def _description(tree: Tree, name: str) -> yolo_description.Description | None:
    """The content of a data.yaml; None of one that cannot be read, which its reader tells."""
    try:
        return yolo_description.description_at(tree, name)
    except (OSError, UnreadableImage, UserError):
        return None


def _holds(tree: Tree, name: str, words: Sequence[bytes]) -> bool:
    """True if a file has all of these words."""
    try:
        data = tree.read(name)
    except (OSError, UnreadableImage):
        return False
    return all(word in data for word in words)
