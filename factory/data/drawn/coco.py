"""COCO's JSON of instances: its images, its categories, and the regions of each image.

Format: cocodataset.org/#format-data. Each annotation is decoded when its image is read.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from factory.classes import IGNORE_ID
from factory.data.drawn import json_parts, regions
from factory.data.drawn.items import Size
from factory.data.drawn.regions import Region
from factory.errors import UnreadableImage, UserError, counted, some
from factory.images import UInt8


@dataclass(frozen=True)
class CocoImage:
    """An image of the JSON."""

    file_name: str
    size: Size | None
    """None if the JSON tells none."""
    starts: "array[int]"
    """The offsets of its annotations."""
    num_boxes: int = 0
    """The number of annotations without an outline."""


@dataclass(frozen=True)
class Instances:
    """The content of a JSON of instances."""

    text: str = field(repr=False)
    images: Sequence[CocoImage]
    categories: Mapping[int, str]
    """Id -> name, in order of the ids."""
    counts: Mapping[str, int]
    """Name of a category -> number of its annotations."""


def read(text: str, url: str) -> Instances:
    """The content of a JSON of instances. Raises UserError that begins with url."""
    images: dict[Any, tuple[str, Size | None]] = {}
    categories: dict[int, str] = {}
    starts: dict[Any, array[int]] = defaultdict(lambda: array("q"))
    boxes: Counter[Any] = Counter()
    counts: Counter[Any] = Counter()
    wrong: list[str] = []
    try:
        for key, value, start in json_parts.parts(text):
            if key == "images" and _has(value, wrong, "image", id=(int, str), file_name=str):
                images[value["id"]] = value["file_name"], _size(value)
            elif key == "categories" and _has(value, wrong, "category", id=int, name=str):
                categories[value["id"]] = value["name"]
            elif key == "annotations" and _has(
                value, wrong, "annotation", image_id=(int, str), category_id=int
            ):
                starts[value["image_id"]].append(start)
                boxes[value["image_id"]] += not value.get("segmentation")
                counts[value["category_id"]] += 1
    except (ValueError, RecursionError) as error:
        raise UserError(f"{url}: is no JSON of instances ({error}). Export it again.") from None
    problems = [*wrong[:1], *_strays(images, categories, starts, counts)]
    if problems:
        raise UserError([f"{url}: {problem}" for problem in problems])
    found = [CocoImage(n, s, starts[i], boxes[i]) for i, (n, s) in images.items()]
    return Instances(
        text,
        found,
        dict(sorted(categories.items())),
        {categories[i]: num for i, num in counts.items()},
    )


@dataclass(frozen=True)
class CocoDrawing:
    """The annotations of an image."""

    file_url: str
    instances: Instances
    about: CocoImage
    id_of: Mapping[str, int]
    """Name of a category -> class id."""

    @property
    def url(self) -> str:
        """The JSON, and the image in it."""
        return f"{self.file_url}#{self.about.file_name}"

    def draw(self, size: Size) -> UInt8:
        """Regions by their size, the larger ones below; those of crowds are ignored."""
        size = self.about.size or size
        return regions.paint([self._region(start, size) for start in self.about.starts], size)

    def _region(self, start: int, size: Size) -> Region:
        """An annotation's region. Raises UnreadableImage."""
        annotation = json_parts.value_at(self.instances.text, start)
        shape = annotation["segmentation"]
        class_id = self.id_of[self.instances.categories[annotation["category_id"]]]
        if annotation.get("iscrowd"):
            class_id = IGNORE_ID
        try:
            if isinstance(shape, list):
                return regions.of_polygons(shape, size, class_id)
            if not isinstance(shape, dict):
                raise UnreadableImage("neither outlines nor runs of pixels. Draw it again.")
            width, height = size
            found = shape.get("size", [height, width])
            if found != [height, width]:
                raise UnreadableImage(f"runs of size {found} in an image of [{height}, {width}].")
            return regions.of_runs(shape.get("counts"), found, class_id)
        except UnreadableImage as error:
            raise UnreadableImage(f"annotation {annotation.get('id')}: {error}") from None


def _size(image: Mapping[str, Any]) -> Size | None:
    """The size that the JSON tells of an image."""
    width, height = image.get("width"), image.get("height")
    if type(width) is not int or type(height) is not int or width < 1 or height < 1:
        return None
    return width, height


def _has(value: Any, wrong: list[str], what: str, **types: Any) -> bool:
    """True if an element has these keys, of these types; else what is wrong is noted."""
    if isinstance(value, dict):
        lacking = [key for key, kind in types.items() if not isinstance(value.get(key), kind)]
    else:
        lacking = list(types)
    if lacking:
        wrong.append(f"an {what} without {some(lacking)}: {value!r:.120}. Export it again.")
    return not lacking


def _strays(
    images: Mapping[Any, tuple[str, Size | None]],
    categories: Mapping[int, str],
    starts: Mapping[Any, Sequence[int]],
    counts: Mapping[Any, int],
) -> list[str]:
    """What does not belong together, a sentence each."""
    found = []
    if nowhere := [i for i in starts if i not in images]:
        found.append(
            f"there are annotations of {counted(len(nowhere), 'image')} that it does not list: ids "
            f"{some(list(map(str, nowhere)))}. Add the images, or remove the annotations."
        )
    if unknown := [i for i in counts if i not in categories]:
        found.append(
            f"there are annotations of categories that it does not list: ids "
            f"{some(list(map(str, unknown)))}. Add the categories, or remove the annotations."
        )
    for what, names in (
        ("images of one file_name", [name for name, _ in images.values()]),
        ("categories of one name", list(categories.values())),
    ):
        if twice := [name for name, num in Counter(names).items() if num > 1]:
            found.append(f"has several {what}: {some(twice)}. Leave one of each.")
    return found
