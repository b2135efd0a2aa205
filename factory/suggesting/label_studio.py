"""Label Studio: tasks with predictions, painted by a brush, the interface that goes with them, and
the JSON that it exports.

Shapes: H height, W width.
"""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from factory.classes import css_color
from factory.errors import UnreadableImage
from factory.images import UInt8
from factory.suggesting import brush_runs
from factory.suggesting.layers import Labels, Layer
from factory.suggesting.returned import Returned, Sizes, size_problem, stem_of

_IMAGE, _BRUSH, _NAME, _TYPE = "image", "classes", "name", "brushlabels"
"""The names of the image and of the brush in the interface, the key of a task that tells which
image it is, and the type of what a brush painted."""
_REMEDY = "Export the project as JSON."


def interface_xml(labels: Labels) -> bytes:
    """The interface of a project, in which tasks of these labels are opened."""
    view = Element("View")
    SubElement(view, "Image", {"name": _IMAGE, "value": f"${_IMAGE}", "zoom": "true"})
    brush = SubElement(view, "BrushLabels", {"name": _BRUSH, "toName": _IMAGE})
    for name, color in labels.colors.items():
        SubElement(brush, "Label", {"value": name, "background": css_color(color)})
    ElementTree.indent(view)
    return ElementTree.tostring(view, "unicode").encode() + b"\n"


def task(
    name: str, image_png: bytes, mask: UInt8, labels: Labels, score: float | None
) -> dict[str, Any]:
    """A task: the image itself, so that no server has to find it, and its mask as a prediction.

    name: that of the image's file. mask: (H, W). score: what is expected of the mask, 0 to 1.
    """
    height, width = mask.shape
    results = [
        {
            "id": f"{name}-{labels.ids[layer.label]}",
            "type": _TYPE,
            "from_name": _BRUSH,
            "to_name": _IMAGE,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "format": "rle",
                "rle": brush_runs.encode(layer.pixels),
                _TYPE: [layer.label],
            },
        }
        for layer in labels.layers(mask)
    ]
    url = f"data:image/png;base64,{b64encode(image_png).decode()}"
    prediction: dict[str, Any] = {"model_version": "factory", "result": results}
    if score is not None:
        prediction["score"] = score
    return {"data": {_IMAGE: url, _NAME: name}, "predictions": [prediction]}


def tasks_json(tasks: Sequence[Mapping[str, Any]]) -> bytes:
    """The file of tasks that Label Studio imports."""
    return json.dumps(tasks, allow_nan=False).encode()


def read_json(data: bytes, sizes: Sizes) -> Iterator[Returned]:
    """Yields the images of an export for which a person submitted an annotation.

    Raises UnreadableImage, the end of a sentence that begins with the file's name.
    """
    try:
        tasks = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnreadableImage(f"is no JSON ({error}). {_REMEDY}") from None
    if not isinstance(tasks, list) or not all(map(_is_task, tasks)):
        raise UnreadableImage(f"is no list of tasks with annotations. {_REMEDY}")
    for each in tasks:
        submitted = [one for one in each["annotations"] if one.get("was_cancelled") is not True]
        name = each["data"].get(_NAME)
        if not isinstance(name, str):
            problem = f"without `{_NAME}`: import tasks.json as it was written"
            yield Returned(f"task {each.get('id')}", problems=(problem,))
        elif submitted:
            yield _returned(name, submitted, sizes)


def _is_task(each: Any) -> bool:
    annotations = each.get("annotations") if isinstance(each, dict) else None
    return (
        isinstance(annotations, list)
        and isinstance(each.get("data"), dict)
        and all(isinstance(one, dict) for one in annotations)
    )


def _returned(name: str, annotations: Sequence[Mapping[str, Any]], sizes: Sizes) -> Returned:
    """The image of a task, by the annotation that counts."""
    truths = [each for each in annotations if each.get("ground_truth") is True]
    problem = size_problem(name, None, sizes)
    if len(counting := truths or annotations) > 1:
        num = len(counting)
        problem = f"has {num} annotations. Mark one as ground truth, or delete the others"
    if problem:
        return Returned(name, problems=(problem,))
    results = counting[0].get("result")
    layers, problems = list[Layer](), list[str]()
    for result in results if isinstance(results, list) else []:
        try:
            layers.append(_layer(result, sizes[stem_of(name)]))
        except UnreadableImage as error:
            problems.append(f"has {error}")
    return Returned(name, tuple(layers), tuple(dict.fromkeys(problems)))


def _layer(result: Any, size: tuple[int, int]) -> Layer:
    """What was painted on an image of this width and height. Raises UnreadableImage."""
    kind = result.get("type") if isinstance(result, dict) else None
    value = result.get("value") if isinstance(result, dict) else None
    if kind != _TYPE or not isinstance(value, dict) or value.get("format") != "rle":
        raise UnreadableImage(f"a region of type {kind}, which no brush painted. Remove it")
    labels = value.get(_TYPE)
    if not isinstance(labels, list) or len(labels) != 1:
        raise UnreadableImage(f"a region of the labels {labels}. Give it one label")
    if result.get("image_rotation") not in (0, None):
        raise UnreadableImage("a region of the turned image. Turn it back, and paint it there")
    told = result.get("original_width"), result.get("original_height")
    if told != size:
        raise UnreadableImage(
            f"a region of {told[0]}x{told[1]} pixels, and is {size[0]}x{size[1]} itself"
        )
    return Layer(str(labels[0]), brush_runs.decode(value.get("rle"), size))
