"""What CVAT and Label Studio read of a package, by the rules that they publish: written anew for
the tests, so that writer and reader of ours cannot share a mistake."""

import io
import json
import zipfile
from xml.etree import ElementTree

import numpy as np


def cvat_layers(package: bytes) -> dict[str, list[tuple[str, np.ndarray]]]:
    """The masks of each image of a .zip: label, and pixels (H, W), as CVAT imports them."""
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        (name,) = archive.namelist()
        root = ElementTree.fromstring(archive.read(name))
    assert name.endswith(".xml") and root.tag == "annotations" and root[0].text == "1.1"
    assert root.find("meta/task/mode").text == "annotation"
    labels = [each.findtext("name") for each in root.iter("label")]
    assert len(set(labels)) == len(labels)
    found: dict[str, list[tuple[str, np.ndarray]]] = {}
    for number, image in enumerate(root.iter("image")):
        assert int(image.attrib["id"]) == number
        shape = int(image.attrib["height"]), int(image.attrib["width"])
        found[image.attrib["name"]] = [
            (mask.attrib["label"], _whole(mask.attrib, shape)) for mask in image
        ]
        assert {label for label, _ in found[image.attrib["name"]]} <= set(labels)
        assert all(mask.tag == "mask" and mask.attrib["occluded"] == "0" for mask in image)
    return found


def _whole(known: dict[str, str], shape: tuple[int, int]) -> np.ndarray:
    """A pixel after the other: runs of outside and inside in turn, along the rows of the box."""
    left, top, width, height = (int(known[key]) for key in ("left", "top", "width", "height"))
    pixels, offset, value = np.zeros(shape, bool), 0, False
    for run in map(int, known["rle"].split(",")):
        for _ in range(run):
            pixels[top + offset // width, left + offset % width] = value
            offset += 1
        value = not value
    assert offset == width * height
    inner = pixels[top : top + height, left : left + width]
    assert inner[0].any() and inner[-1].any() and inner[:, 0].any() and inner[:, -1].any()
    return pixels


def painted(runs: list[int], shape: tuple[int, int]) -> np.ndarray:
    """(H, W) the opacity of each pixel, of the bytes of @thi.ng/rle-pack, bit by bit."""
    bits = "".join(f"{byte:08b}" for byte in runs)
    at = 0

    def read(num: int) -> int:
        nonlocal at
        at += num
        return int(bits[at - num : at], 2)

    num, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < num:
        repeats, length = read(1), read(sizes[read(2)]) + 1
        values += [read(word)] * length if repeats else [read(word) for _ in range(length)]
    return np.array(values, np.uint8).reshape(*shape, 4)[..., 3]


def label_studio_layers(tasks: bytes, interface: bytes) -> dict[str, list[tuple[str, np.ndarray]]]:
    """What Label Studio shows of each task's prediction: label, and pixels (H, W)."""
    view = ElementTree.fromstring(interface)
    image, brush = view.find("Image"), view.find("BrushLabels")
    assert image.attrib["value"] == "$image" and brush.attrib["toName"] == image.attrib["name"]
    labels = {each.attrib["value"] for each in brush}
    found: dict[str, list[tuple[str, np.ndarray]]] = {}
    for task in json.loads(tasks):
        assert task["data"]["image"].startswith("data:image/png;base64,")
        (prediction,) = task["predictions"]
        layers = []
        for result in prediction["result"]:
            assert (result["from_name"], result["to_name"]) == (
                brush.attrib["name"],
                image.attrib["name"],
            )
            assert result["type"] == "brushlabels" and result["value"]["format"] == "rle"
            (label,) = result["value"]["brushlabels"]
            assert label in labels and result["image_rotation"] == 0
            shape = result["original_height"], result["original_width"]
            opacity = painted(result["value"]["rle"], shape)
            assert set(np.unique(opacity)) <= {0, 255}
            layers.append((label, opacity == 255))
        ids = [result["id"] for result in prediction["result"]]
        assert len(set(ids)) == len(ids)
        found[task["data"]["name"]] = layers
    return found


def submitted(tasks: bytes) -> bytes:
    """The JSON that Label Studio exports after each prediction was accepted as it is."""
    exported = []
    for number, task in enumerate(json.loads(tasks), start=1):
        (prediction,) = task.pop("predictions")
        annotation = {"id": number, "was_cancelled": False, "ground_truth": False}
        exported.append(
            {"id": number, **task, "annotations": [{**annotation, "result": prediction["result"]}]}
        )
    return json.dumps(exported).encode()
