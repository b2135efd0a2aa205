"""COCO's JSON of instances, or of panoptic segments: its images, its categories, and the regions of
each image.

Format: cocodataset.org/#format-data. Each annotation is decoded when its image is read.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from factory.classes import IGNORE_ID
from factory.data.drawn import json_parts, regions
from factory.data.drawn.items import Size, check_size, told_size
from factory.data.drawn.regions import Region
from factory.errors import UnreadableImage, UserError, counted, some
from factory.images import UInt8

_OTHERS = {"caption": "captions"}
"""Keys of the annotations of COCO's other files, and what these are of."""


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
    """One for each file_name."""
    categories: Mapping[str, str]
    """Id -> name, in order of the ids; several categories of one name are one class."""
    counts: Mapping[str, int]
    """Name of a category -> number of its annotations."""
    doubtful: frozenset[str]
    """The file_names of images of which nothing tells whose annotations are theirs."""
    doubts: tuple[str, ...]
    """Why, and which annotations are of no image: the ends of sentences."""
    are_panoptic: bool = False
    """True if an annotation is that of all segments of an image, whose pixels are in a PNG."""
    crowds: Mapping[str, int] = field(default_factory=dict)
    """Name of a category -> number of its annotations that are of crowds (`iscrowd`), and of this
    category alone: a region that several have is one to ignore."""

    def label(self, category_id: object) -> str:
        """The name of a category; one that the JSON does not list is called by its id."""
        return self.categories.get(str(category_id), f"category {category_id}")


@dataclass
class _Read:
    """What was read of a JSON until now. Some programs write ids as texts, so all of them are."""

    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Id of an image -> its file_names, of which there should be one."""
    sizes: dict[str, Size | None] = field(default_factory=dict)
    """By file_name."""
    categories: dict[str, str] = field(default_factory=dict)
    starts: dict[str, "array[int]"] = field(default_factory=lambda: defaultdict(lambda: array("q")))
    boxes: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    """By id of a category."""
    crowds: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    """Image and region of each annotation of a crowd -> the ids of its categories."""
    wrong: list[str] = field(default_factory=list)
    are_panoptic: bool = False

    def add(self, key: str, value: Any, start: int) -> None:
        """Adds an element of a list of the JSON, which begins there."""
        if key == "images":
            value = _with_file_name(value)
        if key == "images" and self._has(value, "an image", id=(int, str), file_name=str):
            found = self.names[str(value["id"])]
            if value["file_name"] not in found:
                found.append(value["file_name"])
            self.sizes.setdefault(value["file_name"], told_size(value, "width", "height"))
        elif key == "categories" and self._has(value, "a category", id=(int, str), name=str):
            self.categories[str(value["id"])] = value["name"]
        elif key == "annotations" and isinstance(value, dict) and "segments_info" in value:
            self._add_segments(value, start)
        elif key == "annotations" and self._has(
            value, "an annotation", image_id=(int, str), category_id=(int, str)
        ):
            image = str(value["image_id"])
            self.starts[image].append(start)
            self.boxes[image] += not has_outline(value)
            self.counts[str(value["category_id"])] += 1
            if value.get("iscrowd"):
                region = hash(str(value.get("segmentation")))
                self.crowds[image, region].add(str(value["category_id"]))

    def _add_segments(self, value: dict[str, Any], start: int) -> None:
        """Adds an annotation of all segments of an image."""
        if not self._has(value, "an annotation", image_id=(int, str), file_name=str):
            return
        segments = value["segments_info"]
        for segment in segments if isinstance(segments, list) else [segments]:
            if self._has(segment, "a segment", id=int, category_id=(int, str)):
                self.counts[str(segment["category_id"])] += 1
                if segment.get("iscrowd"):
                    crowd = str(value["image_id"]), segment["id"]
                    self.crowds[crowd].add(str(segment["category_id"]))
        self.starts[str(value["image_id"])].append(start)
        self.are_panoptic = True

    def _has(self, value: Any, what: str, **types: Any) -> bool:
        """True if an element has these keys, of these types; else what is wrong is noted."""
        found = value if isinstance(value, dict) else {}
        lacking = [key for key, kind in types.items() if not isinstance(found.get(key), kind)]
        if lacking and not self.wrong:
            other = next((_OTHERS[key] for key in _OTHERS if key in found), None)
            self.wrong.append(
                f"is of {other}, not of instances. Set `annotations_url:` to a JSON of instances."
                if other
                else f"{what} without {some(lacking)}: {value!r:.120}. Export it again."
            )
        return not lacking


def _with_file_name(image: Any) -> Any:
    """An image of the JSON whose file is called as in its URL where it has no file_name, as in
    LVIS (Gupta et al. 2019)."""
    if isinstance(image, dict) and "file_name" not in image and "coco_url" in image:
        return {**image, "file_name": image["coco_url"]}
    return image


def read(text: str, url: str) -> Instances:
    """The content of a JSON of instances. Raises UserError that begins with url."""
    read = _Read()
    try:
        for key, value, start in json_parts.parts(text):
            read.add(key, value, start)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{url}: is no JSON of instances ({error}). Export it again.") from None
    if read.wrong:
        raise UserError(f"{url}: {read.wrong[0]}")
    ids: dict[str, list[str]] = defaultdict(list)
    for image, names in read.names.items():
        for name in names:
            ids[name].append(image)
    several = {image: names for image, names in read.names.items() if len(names) > 1}
    repeated = [name for name, images in ids.items() if len(images) > 1]
    images = [
        CocoImage(name, read.sizes[name], read.starts[image], read.boxes[image])
        for name, (image, *_) in ids.items()
    ]
    instances = Instances(
        text,
        images,
        dict(sorted(read.categories.items(), key=_order)),
        {},
        frozenset([*repeated, *(name for names in several.values() for name in names)]),
        tuple(_doubts(read, several, repeated)),
        read.are_panoptic,
    )
    counts: Counter[str] = Counter()
    for category, num in read.counts.items():
        counts[instances.label(category)] += num
    of_crowds = [few for few in read.crowds.values() if len(few) == 1]
    crowds = Counter(instances.label(category) for few in of_crowds for category in few)
    return replace(instances, counts=counts, crowds=crowds)


def has_outline(annotation: Mapping[str, Any]) -> bool:
    """True if an annotation has outlines or runs, whether they can be drawn or not."""
    shape = annotation.get("segmentation")
    return any(shape) if isinstance(shape, list) else bool(shape)


@dataclass(frozen=True)
class CocoDrawing:
    """The annotations of an image."""

    file_url: str
    instances: Instances
    about: CocoImage
    id_of: Mapping[str, int]
    """Name of a category -> class id."""
    draws_crowds: bool
    """True if regions of crowds are drawn like others; otherwise they are ignored."""

    @property
    def url(self) -> str:
        """The JSON, and the image in it."""
        return f"{self.file_url}#{self.about.file_name}"

    def draw(self, size: Size) -> UInt8:
        """Regions by their size, the larger ones below."""
        size = self.about.size or size
        check_size(size)
        return regions.paint([self._region(start, size) for start in self.about.starts], size)

    def _region(self, start: int, size: Size) -> Region:
        """An annotation's region. Raises UnreadableImage."""
        annotation = json_parts.value_at(self.instances.text, start)
        class_id = self.id_of[self.instances.label(annotation["category_id"])]
        if annotation.get("iscrowd") and not self.draws_crowds:
            class_id = IGNORE_ID
        try:
            if not has_outline(annotation):
                return regions.of_box(annotation.get("bbox"), size, IGNORE_ID)
            shape = annotation["segmentation"]
            if isinstance(shape, list):
                # Some programs write one outline without the list of outlines around it.
                outlines = shape if isinstance(shape[0], list) else [shape]
                return regions.of_polygons(outlines, size, class_id)
            if not isinstance(shape, dict):
                raise UnreadableImage("neither outlines nor runs of pixels. Draw it again.")
            width, height = size
            found = shape.get("size", [height, width])
            if found != [height, width]:
                raise UnreadableImage(f"runs of size {found} in an image of [{height}, {width}].")
            return regions.of_runs(shape.get("counts"), found, class_id)
        except UnreadableImage as error:
            about = f"annotation {annotation.get('id')}"
            raise error.within(f"{about}: {error}", about) from None


def _order(category: tuple[str, str]) -> tuple[bool, int, str]:
    """The place of an id and name among others: numbers by their size, before texts."""
    number = category[0].removeprefix("-")
    return (False, int(category[0]), "") if number.isdecimal() else (True, 0, category[0])


def _doubts(
    read: _Read, several: Mapping[str, Sequence[str]], repeated: Sequence[str]
) -> Iterator[str]:
    """Yields why annotations are of no image, or of one of several."""
    if nowhere := [image for image in read.starts if image not in read.names]:
        num = sum(len(read.starts[image]) for image in nowhere)
        yield (
            f"{counted(num, 'annotation')} of {counted(len(nowhere), 'image')} that it does not "
            f"list: ids {some(nowhere)}"
        )
    if several:
        told = [f"{image} ({some(list(names), 3)})" for image, names in several.items()]
        yield f"several images of one id, {some(told)}"
    if repeated:
        yield f"several images of one file_name, {some(list(repeated))}"
