"""CVAT for images 1.1, the format that CVAT imports into a task and exports: one XML, in a .zip.

A mask is a rectangle, and runs of pixels in it, row by row, of outside and inside in turn.

Shapes: H height, W width.
"""

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from factory.classes import css_color
from factory.data.drawn.regions import of_polygons, paint
from factory.errors import UnreadableImage
from factory.images import UInt8
from factory.shards.layout import to_json
from factory.suggesting.layers import Labels, Layer, Pixels
from factory.suggesting.returned import Returned, Sizes, size_problem

ANNOTATIONS = "annotations.xml"
"""The name of the XML in the .zip."""
VERSION = "1.1"
_DATE = (1980, 1, 1, 0, 0, 0)
"""The first that a .zip can tell: the same masks give the same bytes."""
_REMEDY = "Export it as CVAT for images 1.1."
_OTHERS = {"box", "ellipse", "polyline", "points", "cuboid", "skeleton"}
"""Shapes of CVAT that are not read as regions of pixels."""


def annotations_zip(masks: Sequence[tuple[str, UInt8]], labels: Labels) -> bytes:
    """The .zip that CVAT takes as annotations of a task; masks: the name of each image's file, and
    its mask (H, W)."""
    root = Element("annotations")
    SubElement(root, "version").text = VERSION
    _add_meta(root, masks, labels)
    for i, (name, mask) in enumerate(masks):
        height, width = mask.shape
        known = {"id": str(i), "name": name, "width": str(width), "height": str(height)}
        image = SubElement(root, "image", known)
        for layer in labels.layers(mask):
            told = {"label": layer.label, "source": "auto", "occluded": "0", "z_order": "0"}
            SubElement(image, "mask", {**told, **_runs(layer.pixels)}).text = "\n"
    ElementTree.indent(root)
    text = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(ANNOTATIONS, _DATE), text, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def labels_json(labels: Labels) -> bytes:
    """The labels of a task, as the raw text of CVAT's form has them."""
    return to_json(
        [
            {"name": name, "color": css_color(color), "type": "mask", "attributes": []}
            for name, color in labels.colors.items()
        ]
    )


def _add_meta(root: Element, masks: Sequence[tuple[str, UInt8]], labels: Labels) -> None:
    """Adds what an XML of CVAT tells of its task."""
    task = SubElement(SubElement(root, "meta"), "task")
    for name, value in {"size": str(len(masks)), "mode": "annotation", "overlap": "0"}.items():
        SubElement(task, name).text = value
    of_labels = SubElement(task, "labels")
    for name, color in labels.colors.items():
        label = SubElement(of_labels, "label")
        SubElement(label, "name").text = name
        SubElement(label, "color").text = css_color(color)
        SubElement(label, "type").text = "mask"
        SubElement(label, "attributes")


def _runs(pixels: Pixels) -> dict[str, str]:
    """The rectangle around pixels (H, W), of which there are some, and the runs in it."""
    rows, columns = (np.flatnonzero(pixels.any(axis=axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    height, width = int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left
    flat = pixels[top : top + height, left : left + width].ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], changes, [len(flat)]])).tolist()
    runs = [0, *runs] if flat[0] else runs
    place = {"left": left, "top": top, "width": width, "height": height}
    return {"rle": ", ".join(map(str, runs)), **{key: str(n) for key, n in place.items()}}


@dataclass(frozen=True)
class _Shape:
    """A shape of an image, whose pixels are drawn when they are asked for."""

    element: Element
    size: tuple[int, int]

    @property
    def z_order(self) -> int:
        """Shapes of a larger one lie over the others."""
        return int(self.element.get("z_order", "0"))

    def layer(self) -> Layer:
        """Its pixels. Raises UnreadableImage, the end of a sentence."""
        label, draw = self.element.get("label", ""), _pixels_of_mask
        if self.element.tag == "polygon":
            draw = _pixels_of_polygon
        try:
            return Layer(label, draw(self.element, self.size))
        except UnreadableImage:
            raise
        except (ValueError, TypeError, OverflowError):
            raise UnreadableImage(f"a {self.element.tag} of {label} with bad numbers") from None


def read_xml(data: bytes, sizes: Sizes) -> Iterator[Returned]:
    """Yields the images of an XML that have any region, with their layers: CVAT also lists those
    that nobody has looked at.

    Raises UnreadableImage, the end of a sentence that begins with the file's name.
    """
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UnreadableImage(f"is no XML ({error}). {_REMEDY}") from None
    if root.tag != "annotations":
        raise UnreadableImage(f"is no XML of CVAT. {_REMEDY}")
    if root.find("track") is not None:
        raise UnreadableImage(f"has tracks, as CVAT for video. {_REMEDY}")
    for image in root.iter("image"):
        if any(each.tag != "tag" for each in image):
            yield _returned(image, sizes)


def _returned(image: Element, sizes: Sizes) -> Returned:
    """An image with its layers, or with what is wrong with it."""
    name = image.get("name", "")
    try:
        size = int(image.get("width", "")), int(image.get("height", ""))
    except ValueError:
        return Returned(name, problems=("tells no width and height",))
    if problem := size_problem(name, size, sizes):
        return Returned(name, problems=(problem,))
    problems = list[str]()
    if found := sorted({each.tag for each in image if each.tag in _OTHERS}):
        problems.append(
            f"has a shape {', '.join(found)}, which is no region of pixels: draw a mask or a "
            "polygon in its place, or remove it"
        )
    shapes = [_Shape(each, size) for each in image if each.tag in ("mask", "polygon")]
    layers = list[Layer]()
    try:
        # Those of one z_order stay in their order, as in CVAT's own export of masks.
        layers = [shape.layer() for shape in sorted(shapes, key=lambda shape: shape.z_order)]
    except UnreadableImage as error:
        problems.append(f"has {error}")
    except ValueError:
        problems.append("has a z_order that is no number")
    return Returned(name, tuple(layers), tuple(problems))


def _pixels_of_mask(element: Element, size: tuple[int, int]) -> Pixels:
    """(H, W) the pixels of a mask. Raises UnreadableImage, ValueError."""
    width, height = size
    runs = [int(number) for number in element.get("rle", "").split(",")]
    left, top, inner_width, inner_height = (
        int(element.get(key, "")) for key in ("left", "top", "width", "height")
    )
    is_inside = min(left, top) >= 0 and left + inner_width <= width and top + inner_height <= height
    if not is_inside or min(inner_width, inner_height, *(run + 1 for run in runs)) < 1:
        raise UnreadableImage(f"a mask of {element.get('label')} that leaves the image")
    if sum(runs) != inner_width * inner_height:
        raise UnreadableImage(
            f"a mask of {element.get('label')} whose runs do not fill its {inner_width}x"
            f"{inner_height} pixels"
        )
    values = np.arange(len(runs)) % 2 == 1
    pixels = np.zeros((height, width), np.bool_)
    inside = np.repeat(values, runs).reshape(inner_height, inner_width)
    pixels[top : top + inner_height, left : left + inner_width] = inside
    return pixels


def _pixels_of_polygon(element: Element, size: tuple[int, int]) -> Pixels:
    """(H, W) the pixels inside of a polygon. Raises UnreadableImage, ValueError."""
    pairs = [pair.split(",") for pair in element.get("points", "").split(";")]
    outline = [float(number) for number in chain.from_iterable(pairs)]
    return paint([of_polygons([outline], size, 1)], size).astype(np.bool_)
