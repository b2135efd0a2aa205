"""The data.yaml about YOLO's images and labels: the classes, and where the images of splits are;
and where the labels of an image are."""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import yaml

from factory.data.files.trees import Tree
from factory.errors import UnreadableImage, UserError
from factory.yaml_reading import parse_yaml

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Description:
    """The content of a data.yaml."""

    url: str
    folder: str
    """The folder of the tree in which it lies."""
    names: Sequence[str] = ()
    """The names of the classes 0, 1, ...; empty if it tells none."""
    path: str = ""
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Split -> folders of images, or text files that list images."""
    has_keypoints: bool = False
    """True if it is of poses: boxes and keypoints, which have no outlines."""


def read_description(text: str, url: str, folder: str) -> Description:
    """The content of a data.yaml. Raises UserError that begins with url."""
    try:
        content = parse_yaml(text)
    except (yaml.YAMLError, ValueError, UserError) as error:
        raise UserError(f"{url}: is no YAML ({error}). Write it as names: [...] .") from None
    if not isinstance(content, dict):
        raise UserError(f"{url}: holds no keys such as names and train.")
    splits = {
        split: [str(place) for place in (found if isinstance(found, list) else [found])]
        for split in SPLITS
        if (found := content.get(split))
    }
    return Description(
        url,
        folder,
        _names(content, url),
        str(content.get("path") or ""),
        splits,
        has_keypoints="kpt_shape" in content,
    )


def descriptions_among(tree: Tree, names: Sequence[str]) -> list[str]:
    """The files that may be the data.yaml of a tree: those called so, else all YAML files that name
    classes.

    names: of the files of the tree.
    """
    yamls = [name for name in names if name.lower().endswith((".yaml", ".yml"))]
    called = [name for name in yamls if posixpath.basename(name).lower().startswith("data.")]
    return called or [name for name in yamls if _describes(tree, name)]


def description_at(tree: Tree, name: str) -> Description:
    """The content of the data.yaml of this name. Raises UserError, UnreadableImage, OSError."""
    text = tree.read(name).decode("utf-8-sig", errors="replace")
    return read_description(text, tree.url_of(name), posixpath.dirname(name))


def folders_of(description: Description, place: str) -> list[str]:
    """The names in the tree that a place of a data.yaml may have, the likeliest first."""
    found = []
    for above in (description.path, ""):
        joined = posixpath.normpath(posixpath.join(description.folder, above, place))
        plain = posixpath.join(description.folder, place.removeprefix("../").removeprefix("./"))
        found += [joined, posixpath.normpath(plain)]
    kept = ["" if name == "." else name for name in found if not name.startswith(("/", ".."))]
    return list(dict.fromkeys(kept))


def missing_splits(description: Description, names: Sequence[str]) -> list[str]:
    """The splits of which no place is there: programs name test whether or not there is one.

    names: of the files of the tree.
    """
    known = {""} | {
        above for name in names for above in (name, *map(str, PurePosixPath(name).parents))
    }
    is_there = {
        split: any(folder in known for place in places for folder in folders_of(description, place))
        for split, places in description.splits.items()
    }
    return [split for split, found in is_there.items() if not found]


def labels_name(image: str) -> str:
    """The text file of an image: in `labels` instead of the last `images` of its folders.

    >>> labels_name("images/train/1.jpg"), labels_name("1.jpg")
    ('labels/train/1.txt', '1.txt')
    """
    *folders, file = image.split("/")
    if "images" in folders:
        last = len(folders) - 1 - folders[::-1].index("images")
        folders[last] = "labels"
    return "/".join([*folders, f"{posixpath.splitext(file)[0]}.txt"])


def _names(content: Mapping[Any, Any], url: str) -> list[str]:
    """The names of the classes, a list or a mapping by number. Raises UserError."""
    names = content.get("names")
    if names is None:
        return []
    if isinstance(names, dict):
        if {str(key) for key in names} != {str(i) for i in range(len(names))}:
            raise UserError(f"{url}: names must number classes 0, 1, 2 ... without gaps.")
        by_number = {int(key): name for key, name in names.items()}
        names = [by_number[i] for i in range(len(by_number))]
    if not isinstance(names, list):
        raise UserError(f"{url}: names must be a list of classes, or number them.")
    found = [str(name) for name in names]
    if len(set(found)) < len(found):
        raise UserError(f"{url}: names has a class twice. Give each another name.")
    return found


def _describes(tree: Tree, name: str) -> bool:
    """True if a YAML file names classes."""
    try:
        return bool(description_at(tree, name).names)
    except (UserError, UnreadableImage):
        return False
