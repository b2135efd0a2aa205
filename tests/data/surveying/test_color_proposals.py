"""Claims about masks in colours that nobody has explained: what they are taken to mean."""

from collections.abc import Mapping
from typing import Any

from factory.classes import Color
from factory.data.classes.class_lookup import Value
from factory.data.surveying.color_proposals import propose
from factory.data.surveying.mask_sampling import MaskSample
from factory.data.surveying.proposal import Proposal

BLACK: Color = (0, 0, 0)
RED: Color = (200, 0, 0)
GREEN: Color = (0, 200, 0)


def proposed(*files: Mapping[Value, int], **more: Any) -> Proposal:
    found = propose(MaskSample(files, len(files), **more))
    assert found is not None
    return found


def colors_of(found: Proposal) -> list[Any]:
    return [entry["colors"] for entry in found.classes if not isinstance(entry, str)]


def test_colours_that_differ_from_mask_to_mask_are_objects_of_one_class() -> None:
    masks: list[Mapping[Value, int]] = [
        {BLACK: 500, (i, 9, 200): 40, (200, i, 9): 40} for i in range(1, 90, 30)
    ]
    masks += [{BLACK: 500, (7, i, 77): 40} for i in range(5)]
    found = proposed(*masks)
    assert colors_of(found) == [[[0, 0, 0]], "others"]
    assert "objects of one class" in found.doubts[0]


def test_colours_that_masks_share_are_a_class_each() -> None:
    masks: list[Mapping[Value, int]] = [{BLACK: 500, RED: 40, (i, i, 99): 1} for i in range(6)]
    found = proposed(*masks)
    assert len(found.classes) == 8 and "others" not in colors_of(found)


def test_colours_between_those_of_nearly_all_pixels_are_of_edges() -> None:
    edges: dict[Value, int] = {(10 * i, 0, 0): 1 for i in range(1, 20)}
    edges.update({(0, 10 * i, 0): 1 for i in range(1, 20)})
    found = proposed({BLACK: 500, RED: 100, GREEN: 80, **edges})
    assert colors_of(found) == [[list(BLACK)], [list(RED)], [list(GREEN)]]
    assert found.nearest_colors and "5.3% of the pixels have others" in found.doubts[1]


def test_rare_colours_that_lie_elsewhere_are_no_edges() -> None:
    rare: dict[Value, int] = {(0, 0, 20 * i): 1 for i in range(1, 12)}
    found = proposed({BLACK: 500, RED: 100, **rare})
    assert not found.nearest_colors and len(found.classes) == 13


def test_colours_that_compression_has_blurred_are_those_that_most_are_near_to() -> None:
    near: dict[Value, int] = {(i, i // 2, 3): 20 for i in range(2, 12)}
    near.update({(200 - i, 5, i): 9 for i in range(1, 12)})
    edges: dict[Value, int] = {(10 * i, 0, 0): 1 for i in range(3, 17)}
    found = proposed({BLACK: 300, RED: 100, **near, **edges}, is_blurred=True)
    assert colors_of(found) == [[list(BLACK)], [list(RED)]] and found.nearest_colors
