"""labelme's JSON: the shapes of one image, and perhaps the image itself.

Shapes are drawn as `labelme.utils.shapes_to_label` does, with Pillow, later ones on earlier ones;
X-AnyLabeling's rectangles of four corners, which may be turned, as polygons.
"""

import base64
import binascii
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from factory import images
from factory.data.drawn.items import DrawnItem, Size, check_size, told_size
from factory.data.files.trees import Tree
from factory.errors import UnreadableImage, UserError
from factory.images import UInt8

_LINE_WIDTH, _POINT_RADIUS = 10, 5
"""What labelme draws lines and points with, in pixels."""
_NUM_POINTS = {"circle": 2, "line": 2, "point": 1, "mask": 2, "rotation": 4}
"""Points of each shape that has a fixed number; a rectangle has two corners, or all four."""
_MIN_POINTS = {"polygon": 3, "linestrip": 2}
_THIN = ("line", "linestrip", "point")
_REMEDY = "Draw it again, or remove it."
Point = tuple[float, float]


@dataclass(frozen=True)
class JsonFacts:
    """The facts known of a JSON before its shapes are drawn."""

    path: str
    """Its name in the tree."""
    image_path: str
    """The image that it names, relative to its own folder; empty if it names none."""
    has_image: bool
    """True if it holds the image."""
    labels: Mapping[str, int]
    """Label -> number of its shapes."""
    num_thin: int
    """The number of its lines and points."""


def look(tree: Tree, path: str) -> JsonFacts | None:
    """The facts of a JSON; None if it is none of labelme's. Raises UserError, UnreadableImage,
    OSError."""
    content = _read(tree, path)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        return None
    url = tree.url_of(path)
    wrong = [s for s in shapes if not isinstance(s, dict) or not isinstance(s.get("label"), str)]
    if wrong:
        raise UserError(
            f"{url}: has a shape whose label is no text, or that has none: {wrong[0]!r:.80}. Write "
            "labels in quotes, or draw the shape again."
        )
    return JsonFacts(
        path,
        str(content.get("imagePath") or ""),
        bool(content.get("imageData")),
        Counter(shape["label"] for shape in shapes),
        sum(shape.get("shape_type") in _THIN for shape in shapes),
    )


@dataclass(slots=True)
class EmbeddedItem(DrawnItem):
    """An image that lies in its JSON."""

    def content(self) -> bytes:
        """The bytes of the image."""
        return _decoded(_read(self.tree, self.path).get("imageData"), "the image")


@dataclass(frozen=True)
class LabelmeDrawing:
    """The JSON of an image; None where it has none, which then means that nothing is in it."""

    tree: Tree
    path: str
    """The name in the tree of the JSON, or of the image without one."""
    id_of: Mapping[str, int] | None
    """Label -> class id; None without a JSON."""

    @property
    def url(self) -> str:
        """The JSON, or the image without one."""
        return self.tree.url_of(self.path)

    def draw(self, size: Size) -> UInt8:
        """Shapes in their order, later ones on earlier ones."""
        if self.id_of is None:
            return np.zeros(size[::-1], np.uint8)
        content = _read(self.tree, self.path)
        size = told_size(content, "imageWidth", "imageHeight") or size
        check_size(size)
        canvas = Image.new("L", size)
        for i, shape in enumerate(content["shapes"]):
            try:
                _draw(canvas, shape, self.id_of[shape["label"]])
            except UnreadableImage as error:
                about = f"shape {i} ({shape['label']})"
                raise error.within(f"{about}: {error}", about) from None
        return np.asarray(canvas)


def _draw(canvas: Image.Image, shape: Mapping[str, Any], class_id: int) -> None:
    """Draws a shape. Raises UnreadableImage for one that labelme does not draw."""
    kind = shape.get("shape_type") or "polygon"
    if kind not in ("rectangle", *_NUM_POINTS, *_MIN_POINTS):
        raise UnreadableImage(f"is a {kind}, which labelme draws no mask of. {_REMEDY}")
    points = _points(shape.get("points"), canvas.size)
    exact, least = _NUM_POINTS.get(kind), _MIN_POINTS.get(kind, 0)
    if kind == "rectangle":
        exact = 4 if len(points) == 4 else 2
    if len(points) < least or (exact is not None and len(points) != exact):
        wanted = f"{exact}" if exact is not None else f"{least} or more"
        raise UnreadableImage(f"a {kind} of {len(points)} points needs {wanted}. {_REMEDY}")
    draw = ImageDraw.Draw(canvas)
    if kind in ("polygon", "rotation") or (len(points) == 4 and kind == "rectangle"):
        draw.polygon(points, outline=class_id, fill=class_id)
    elif kind == "rectangle":
        (left, top), (right, bottom) = np.sort(points, axis=0).tolist()
        draw.rectangle([left, top, right, bottom], outline=class_id, fill=class_id)
    elif kind in ("circle", "point"):
        radius = math.dist(points[0], points[-1]) if kind == "circle" else _POINT_RADIUS
        x, y = points[0]
        box = [x - radius, y - radius, x + radius, y + radius]
        draw.ellipse(box, outline=class_id, fill=class_id)
    elif kind == "mask":
        _paste(canvas, shape.get("mask"), points, class_id)
    else:
        draw.line(points, fill=class_id, width=_LINE_WIDTH)


def _paste(canvas: Image.Image, data: Any, points: Sequence[Point], class_id: int) -> None:
    """Draws the pixels of a mask, whose first and last corner the points are."""
    mask = images.open_image(_decoded(data, "the mask"), ("PNG",)).convert("L")
    (left, top), (right, bottom) = np.array(points).astype(int).tolist()
    if mask.size != (right - left + 1, bottom - top + 1):
        raise UnreadableImage(
            f"a mask of {mask.width}x{mask.height} pixels between {left},{top} and {right},"
            f"{bottom}. {_REMEDY}"
        )
    canvas.paste(class_id, (left, top), mask.point([0, *[255] * 255]))


def _points(points: Any, size: Size) -> list[Point]:
    """The points of a shape. Raises UnreadableImage."""
    try:
        found = np.array(points, np.float64)
    except (ValueError, TypeError):
        found = np.zeros(0)
    if found.ndim != 2 or found.shape[1] != 2:
        raise UnreadableImage(f"its points are no list of x, y. {_REMEDY}")
    if not (np.abs(found) <= 10 * max(size)).all():
        raise UnreadableImage(f"leads far out of the image. {_REMEDY}")
    return [(x, y) for x, y in found.tolist()]


def _read(tree: Tree, path: str) -> Any:
    """The content of a JSON. Raises UserError, UnreadableImage, OSError."""
    try:
        return json.loads(tree.read(path).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{tree.url_of(path)}: is no JSON ({error}). Save it again, or remove it."
        ) from None


def _decoded(data: Any, what: str) -> bytes:
    """The bytes of base64. Raises UnreadableImage."""
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise UnreadableImage(f"{what} in it is damaged. Save it again.") from None
