"""YOLO's labels of segments: a text file an image, a line an outline; and the data.yaml about them.

Format: docs.ultralytics.com/datasets/segment. A line is the number of a class and the outline's
points x, y as shares of the image's width and height.
"""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml

from factory.classes import IGNORE_ID
from factory.data.drawn import regions
from factory.data.drawn.items import Size
from factory.data.drawn.named_files import NamedFiles
from factory.data.listing import IMAGE_SUFFIXES
from factory.data.trees import Tree
from factory.errors import UnreadableImage, UserError, some
from factory.images import UInt8
from factory.yaml_reading import parse_yaml

SPLITS = ("train", "val", "test")
_NUM_OF_BOX = 5
"""The words of a line that is a box: class, middle, width and height."""
_TOLERANCE = 0.01
"""Points may lie so far outside of the image, as rounding leaves them."""


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
    return Description(url, folder, _names(content, url), str(content.get("path") or ""), splits)


def images_of(
    tree: Tree, every: Sequence[str], description: Description, split: str | None
) -> list[str]:
    """The images of a split, or of the tree if none is told, of which those below folders called
    images are meant if there are such: names of the tree, sorted.

    every: the names of all files of the tree.

    Folders of a data.yaml count from its `path`, else from where it lies, and `../` before them is
    what some programs write in vain. Raises UserError, OSError, UnreadableImage.
    """
    names = [name for name in every if name.lower().endswith(IMAGE_SUFFIXES)]
    if split is None:
        return [name for name in names if "images" in name.split("/")[:-1]] or names
    found: set[str] = set()
    texts = {name for name in every if name.endswith(".txt")}
    for place in description.splits[split]:
        candidates = _folders(description, place)
        prefixes = [f"{folder}/" if folder else "" for folder in candidates]
        inside = [p for p in prefixes if any(name.startswith(p) for name in names)]
        if listed := [file for file in candidates if file in texts]:
            found.update(_listed(tree, listed[0], names))
        elif inside:
            found.update(name for name in names if name.startswith(inside[0]))
        else:
            raise UserError(
                f"{description.url}: {split} is {place}, which {tree.url} does not hold. Write "
                "the folder of its images as it lies beside this file, or name the folder above "
                "both in `url:`."
            )
    return sorted(found)


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


@dataclass(frozen=True)
class YoloDrawing:
    """The text file of an image."""

    tree: Tree
    path: str | None
    """Its name in the tree; None without one, which means that there is no object."""
    image: str
    """The image's name in the tree."""
    ids: Sequence[int]
    """The class ids of the classes 0, 1, ... of the file."""
    ignores_boxes: bool = False
    """True if the pixels of lines that are boxes are ignored."""

    @property
    def url(self) -> str:
        """The text file, or the image without one."""
        return self.tree.url_of(self.path or self.image)

    def draw(self, size: Size) -> UInt8:
        """Outlines by their size, the larger ones below."""
        if self.path is None:
            return regions.paint([], size)
        try:
            lines = self.tree.read(self.path).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise UnreadableImage("is no text. Export it again.") from None
        numbered = [(i, line.split()) for i, line in enumerate(lines, 1) if line.strip()]
        boxes = [str(i) for i, words in numbered if len(words) == _NUM_OF_BOX]
        if boxes and not self.ignores_boxes:
            raise UnreadableImage(
                f"lines {some(boxes)} are boxes, which have no outline. Export segments, list the "
                "images to use in names_url, or ignore what lies in the boxes with `boxes: ignore`."
            )
        return regions.paint([self._region(i, words, size) for i, words in numbered], size)

    def _region(self, line: int, words: Sequence[str], size: Size) -> regions.Region:
        try:
            index, *numbers = map(float, words)
        except ValueError:
            raise UnreadableImage(f"line {line} is not of numbers. Export it again.") from None
        if index not in range(len(self.ids)):
            raise UnreadableImage(
                f"line {line} is of class {words[0]}, but there are names of {len(self.ids)} "
                "classes, from 0 on. Add its name to the names of data.yaml."
            )
        is_box = len(words) == _NUM_OF_BOX
        if not is_box and (len(numbers) < 6 or len(numbers) % 2):
            raise UnreadableImage(f"line {line} has no 3 or more points x, y. Export it again.")
        points = np.array(numbers)
        if not (points.min() >= -_TOLERANCE and points.max() <= 1 + _TOLERANCE):
            raise UnreadableImage(
                f"line {line} has points outside of 0..1: they are shares of width and height. "
                "Divide them by those."
            )
        if is_box:
            center, extent = points.reshape(2, 2) * size
            box = [*(center - extent / 2).tolist(), *extent.tolist()]
            return regions.of_box(box, size, IGNORE_ID)
        outline = (points.reshape(-1, 2) * size).ravel().tolist()
        return regions.of_polygons([outline], size, self.ids[int(index)])


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


def _folders(description: Description, place: str) -> list[str]:
    """The names in the tree that a place of a data.yaml may have, the likeliest first."""
    found = []
    for above in (description.path, ""):
        joined = posixpath.normpath(posixpath.join(description.folder, above, place))
        plain = posixpath.join(description.folder, place.removeprefix("../").removeprefix("./"))
        found += [joined, posixpath.normpath(plain)]
    kept = ["" if name == "." else name for name in found if not name.startswith(("/", ".."))]
    return list(dict.fromkeys(kept))


def _listed(tree: Tree, name: str, images: Sequence[str]) -> list[str]:
    """The images that a text file lists, a path a line. Raises UserError for those not there."""
    files, folder = NamedFiles(images), posixpath.dirname(name)
    lines = tree.read(name).decode("utf-8-sig", errors="replace").splitlines()
    found = {line.strip(): files.find(line.strip(), folder) for line in lines if line.strip()}
    if missing := [line for line, meant in found.items() if len(meant) != 1]:
        raise UserError(
            f"{tree.url_of(name)}: lists images that {tree.url} does not hold, or holds more than "
            f"once: {some(missing, 12)}. Add or remove them."
        )
    return [meant[0] for meant in found.values()]
