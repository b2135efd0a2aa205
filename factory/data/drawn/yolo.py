"""YOLO's labels of segments: a text file an image, a line an outline.

Format: docs.ultralytics.com/datasets/segment. A line is the number of a class and the outline's
points x, y as shares of the image's width and height.
"""

import posixpath
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from factory.classes import IGNORE_ID
from factory.data.drawn import regions
from factory.data.drawn.items import DrawnItem, Size
from factory.data.drawn.labels import is_background
from factory.data.drawn.named_files import NamedFiles
from factory.data.files.listing import IMAGE_SUFFIXES
from factory.data.files.name_lists import lines_of
from factory.data.files.trees import Tree
from factory.data.items import Item
from factory.data.recognizing.yolo_description import Description, folders_of
from factory.errors import UnreadableImage, UserError, counted, some
from factory.images import UInt8

_NUM_OF_BOX = 5
"""The words of a line that is a box: class, middle, width and height."""
_VISIBILITIES = {f"{number}{zeros}" for number in (0, 1, 2) for zeros in ("", ".0", ".000000")}
"""How programs write whether a keypoint is there and seen."""
_NUM_OF_CORNERS = 9
"""The words of a line that is an outline of four corners, or an oriented box: class and corners."""
_MAX_LOOKED_INTO = 32
_LISTS = ("classes.txt", "obj.names")
_TOLERANCE = 0.01
"""Points may lie so far outside of the image, as rounding leaves them."""
NEAR, FAR = 0.01, 0.51
"""How far inside their pixels, at left and upper sides and at right and lower ones, outlines run
that `factory export` writes for readers that fill outlines with their borders."""
BRIDGE = 0.25
"""Where in their rows of pixels the lines run that join the holes of such outlines."""
DIGITS = 6
"""The decimals of their shares."""


def listed_classes(tree: Tree, names: Sequence[str]) -> list[str]:
    """The names of the classes 0, 1, ... in the classes.txt or obj.names that labelling programs
    write, a name a line; empty if there is no such file, if two differ, or if what they list begins
    with a background, so that it may not count from class 0.

    names: of the files of the tree. Raises UnreadableImage, OSError.
    """
    lists = [name for name in names if posixpath.basename(name).lower() in _LISTS]
    texts = [tree.read(name).decode("utf-8-sig", errors="replace") for name in lists]
    found = {tuple(line.strip() for line in text.splitlines() if line.strip()) for text in texts}
    listed = list(found.pop()) if len(found) == 1 else []
    usable = listed and not is_background(listed[0]) and len(set(listed)) == len(listed)
    return listed if usable else []


def highest_class(items: Sequence[Item]) -> int:
    """The highest number of a class in the text files of images; -1 if none has one. Raises
    OSError."""
    highest = -1
    for item in items:
        try:
            assert isinstance(item, DrawnItem) and isinstance(item.drawing, YoloDrawing)
            lines = item.drawing.lines()
        except UnreadableImage:
            continue  # It is told where it is drawn.
        numbers = [words[0] for _, words in lines if words[0].isdecimal()]
        highest = max([highest, *map(int, numbers)])
    return highest


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
        candidates = folders_of(description, place)
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


def note_on_corners(items: Sequence[Item]) -> Iterator[str]:
    """A sentence on outlines that all have four corners, as oriented boxes have: nothing in the
    files tells these from outlines. A few files are looked into. Raises OSError."""
    texts = _few(items)
    outlines = [words for words in _lines_of(texts) if len(words) != _NUM_OF_BOX]
    if len(outlines) > 1 and all(len(words) == _NUM_OF_CORNERS for words in outlines):
        yield (
            f"all {len(outlines):,} outlines of {counted(len(texts), 'text file')} that were "
            "looked into have four corners: if they are oriented boxes (OBB), all that lies in a "
            "box is taken for its object. Export segments in their place."
        )


def are_poses(items: Sequence[Item]) -> bool:
    """True if all lines of a few text files are a box and keypoints with their visibility: their
    numbers could be taken for outlines. Raises OSError.

    Keypoints without visibility look as outlines do; a data.yaml tells those (`kpt_shape`).
    """
    lines = _lines_of(_few(items))
    return len({len(words) for words in lines}) == 1 and all(map(_is_pose, lines))


def _is_pose(words: Sequence[str]) -> bool:
    """True of a class, a box, and keypoints x, y and visibility, which is 0, 1 or 2."""
    seen = words[_NUM_OF_BOX + 2 :: 3]
    return (len(words) - _NUM_OF_BOX) % 3 == 0 and bool(seen) and set(seen) <= _VISIBILITIES


def _few(items: Sequence[Item]) -> "list[YoloDrawing]":
    """Some of the text files of images, evenly from all."""
    drawings = [item.drawing for item in items if isinstance(item, DrawnItem)]
    texts = [each for each in drawings if isinstance(each, YoloDrawing) and each.path is not None]
    return texts[:: max(1, -(-len(texts) // _MAX_LOOKED_INTO))]


def _lines_of(texts: "Sequence[YoloDrawing]") -> list[list[str]]:
    """The words of all lines of text files, but for those that cannot be read: these are told where
    they are drawn. Raises OSError."""
    found = []
    for text in texts:
        with suppress(UnreadableImage):
            found += [words for _, words in text.lines()]
    return found


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
        lines = self.lines()
        boxes = [str(i) for i, words in lines if len(words) == _NUM_OF_BOX]
        if boxes and not self.ignores_boxes:
            raise UnreadableImage(
                f"has boxes, which have no outline (line {some(boxes)}). Export segments, list the "
                "images to use in names_url, or ignore what lies in the boxes with `boxes: ignore`."
            )
        return regions.paint([self._region(i, words, size) for i, words in lines], size)

    def lines(self) -> list[tuple[int, list[str]]]:
        """The words of each line that is not empty, with its number, from 1 on. Raises
        UnreadableImage, OSError."""
        if self.path is None:
            return []
        try:
            lines = self.tree.read(self.path).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise UnreadableImage("is no text. Export it again.") from None
        return [(i, line.split()) for i, line in enumerate(lines, 1) if line.strip()]

    def _region(self, line: int, words: Sequence[str], size: Size) -> regions.Region:
        try:
            index, *numbers = map(float, words)
        except ValueError:
            raise UnreadableImage(f"line {line} is not of numbers. Export it again.") from None
        if index not in range(len(self.ids)):
            num = counted(len(self.ids), "class", "classes")
            raise UnreadableImage(
                f"line {line} is of class {words[0]}, but there are names of {num}, from 0 on. Add "
                "its name where the others are: in data.yaml, classes.txt or `classes:`."
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
        outline = _on_sides_of_pixels(points.reshape(-1, 2) * size, size).ravel().tolist()
        return regions.of_polygons([outline], size, self.ids[int(index)])


def _on_sides_of_pixels(points: npt.NDArray[np.float64], size: Size) -> npt.NDArray[np.float64]:
    """(V, 2) an outline that runs just inside the sides of pixels, as those of `factory export` do,
    along these sides themselves, so that the very pixels are drawn; any other one as it is."""
    whole, rest = np.floor(points), points % 1
    rounding = max(size) * 10.0**-DIGITS
    far, bridge = (abs(rest - part) <= rounding for part in (1 - FAR, BRIDGE))
    is_ours = far | bridge | (abs(rest - NEAR) <= rounding)
    if not is_ours.all() or not far.any() or rounding >= NEAR:
        return points
    return np.where(bridge, points, whole + far)


def _listed(tree: Tree, name: str, images: Sequence[str]) -> list[str]:
    """The images that a text file lists, a path a line. Raises UserError for those not there."""
    files, folder = NamedFiles(images), posixpath.dirname(name)
    lines = lines_of(tree.read(name).decode("utf-8-sig", errors="replace"))
    found = {line: files.find(line, folder) for line in lines}
    if missing := [line for line, meant in found.items() if len(meant) != 1]:
        raise UserError(
            f"{tree.url_of(name)}: lists images that {tree.url} does not hold, or holds more than "
            f"once: {some(missing, 12)}. Add or remove them."
        )
    return [meant[0] for meant in found.values()]
