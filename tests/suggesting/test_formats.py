"""Claims about the formats of CVAT and Label Studio: each holds every pixel of a mask, 255 too."""

import io
import json
import zipfile
from base64 import b64encode

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.classes import IGNORE_ID, Classes
from factory.errors import UnreadableImage
from factory.png import encode_png
from factory.suggesting import brush_runs, cvat, label_studio
from factory.suggesting.layers import Labels
from tests.suggesting.tools import cvat_layers, label_studio_layers, painted, submitted

WITH_BACKGROUND = Classes.named(["background", 'a "<&> b', "ignored"])
WITHOUT = Classes.named(["sky", "road", "c"])


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    ids = draw(st.lists(st.sampled_from([0, 1, 2, IGNORE_ID]), min_size=1, max_size=12))
    return np.resize(np.array(ids, np.uint8), shape)


def of_layers(layers, classes: Classes, shape) -> np.ndarray:
    """The mask that layers mean, by what the module says of them."""
    ids = {**{name: i for i, name in enumerate(classes.names)}, Labels(classes).ignored: IGNORE_ID}
    mask = np.full(shape, 0 if classes is WITH_BACKGROUND else IGNORE_ID, np.uint8)
    for label, pixels in layers:
        mask[pixels] = ids[label]
    return mask


@pytest.mark.parametrize("classes", [WITH_BACKGROUND, WITHOUT])
@given(mask=masks())
@settings(max_examples=40, deadline=None)
def test_both_tools_show_the_mask_and_give_it_back_to_the_bit(
    classes: Classes, mask: np.ndarray
) -> None:
    labels, sizes = Labels(classes), {"one": mask.shape[::-1]}
    package = cvat.annotations_zip([("one.png", mask)], labels)
    (layers,) = cvat_layers(package).values()
    assert np.array_equal(of_layers(layers, classes, mask.shape), mask)
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        returned = list(cvat.read_xml(archive.read("annotations.xml"), sizes))
    for image in returned:
        assert not image.problems
        assert np.array_equal(labels.mask(image.layers, mask.shape[::-1]).mask, mask)
    assert returned or not layers, "an image without a region did not come back"

    image_png = encode_png(np.zeros((*mask.shape, 3), np.uint8))
    tasks = label_studio.tasks_json([label_studio.task("one.png", image_png, mask, labels, 0.5)])
    shown = label_studio_layers(tasks, label_studio.interface_xml(labels))["one.png"]
    assert np.array_equal(of_layers(shown, classes, mask.shape), mask)
    assert json.loads(tasks)[0]["data"]["image"].endswith(b64encode(image_png).decode())
    (image,) = label_studio.read_json(submitted(tasks), sizes)
    joined = labels.mask(image.layers, mask.shape[::-1])
    assert np.array_equal(joined.mask, mask) and joined.num_hidden == 0


def test_runs_of_a_brush_are_those_of_label_studios_own_converter() -> None:
    square = np.zeros((4, 5), bool)
    square[1:3, 1:4] = True
    # What mask2rle of label_studio_sdk 2.1.2 makes of it.
    known = [0, 0, 0, 80, 57, 27, 254, 23, 0, 183, 255, 56, 5, 191, 252, 46, 0]
    assert brush_runs.encode(square) == known
    assert np.array_equal(painted(known, square.shape) == 255, square)
    assert np.array_equal(brush_runs.decode(known, (5, 4)), square)


def test_long_runs_and_literal_bytes_are_read_and_half_of_an_edge_counts() -> None:
    large = np.zeros((300, 300), bool)
    large[7, 3] = True
    assert np.array_equal(brush_runs.decode(brush_runs.encode(large), (300, 300)), large)
    opacities = [0, 127, 128, 255]
    body = "".join(f"{value:08b}" * 4 for value in opacities)
    bits = f"{16:032b}" + "00111" + "0010" + "0011" + "0111" + "1111" + "0" + "01" + "1111" + body
    runs = [int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8)]
    assert brush_runs.decode(runs, (4, 1)).tolist() == [[False, False, True, True]]


@pytest.mark.parametrize("cut", [0, 3, 12, 17])
def test_runs_that_are_cut_off_or_of_another_size_are_refused(cut: int) -> None:
    runs = brush_runs.encode(np.eye(6, dtype=bool))
    with pytest.raises(UnreadableImage, match="cut off"):
        brush_runs.decode(runs[:cut], (6, 6))
    with pytest.raises(UnreadableImage, match="7x6"):
        brush_runs.decode(runs, (7, 6))
    with pytest.raises(UnreadableImage, match="no bytes"):
        brush_runs.decode([*runs, 256], (6, 6))


def test_a_polygon_of_cvat_is_filled_and_a_higher_z_order_lies_above() -> None:
    xml = b"""<annotations><image id="0" name="x/one.jpg" width="6" height="4">
      <mask label="road" z_order="1" occluded="0" rle="0, 4" left="1" top="1" width="2" height="2"/>
      <polygon label="c" z_order="0" occluded="0" points="0,0;6,0;6,4;0,4"/>
    </image><image id="1" name="untouched.png" width="6" height="4"><tag label="c"/></image>
    </annotations>"""
    (image,) = cvat.read_xml(xml, {"one": (6, 4)})
    found = Labels(WITHOUT).mask(image.layers, (6, 4))
    assert found.mask.tolist() == [[2] * 6, [2, 1, 1, 2, 2, 2], [2, 1, 1, 2, 2, 2], [2] * 6]
    assert found.num_hidden == 4
