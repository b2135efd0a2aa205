"""Claims about images that occur twice: they are found, and images that are alike are not."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from factory.data import duplicates
from factory.data.duplicates import Fingerprint, fingerprint
from factory.data.toy import drawing
from factory.images import UInt8

NUM = 40


def drawn(num: int = NUM) -> list[UInt8]:
    """Drawn faces of 64 px, which are alike and no two the same."""
    return [drawing.draw(3, i, 64)[0] for i in range(num)]


def saved_again(image: UInt8, quality: int = 85) -> UInt8:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def prints(images: list[UInt8], name: str = "a") -> list[Fingerprint]:
    return [fingerprint(f"{name}{i}", image) for i, image in enumerate(images)]


@pytest.mark.slow
def test_images_of_one_kind_are_not_taken_for_the_same() -> None:
    assert duplicates.nearly_equal(prints(drawn())) == []
    assert duplicates.num_repeated(prints(drawn())) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda image: saved_again(image),
        lambda image: image[:, ::-1].copy(),
        lambda image: saved_again(image[:, ::-1].copy()),
        lambda image: np.clip(image.astype(int) + 1, 0, 255).astype(np.uint8),
    ],
)
def test_images_that_were_mirrored_or_saved_again_are_found(change) -> None:
    faces = drawn()
    others = [change(face) for face in faces[:5]]
    found = duplicates.nearly_equal(prints(others, "b"), prints(faces))
    assert found == [(f"b{i}", f"a{i}") for i in range(5)]
    within = duplicates.nearly_equal(prints([*faces, *others]))
    assert within == [(f"a{NUM + i}", f"a{i}") for i in range(5)]


def test_equal_pixels_are_counted_apart_from_nearly_equal_ones() -> None:
    faces = drawn(3)
    both = prints([*faces, faces[1]])
    assert duplicates.num_repeated(both) == 1 and duplicates.nearly_equal(both) == []
    assert duplicates.equal(prints([faces[1]], "b"), prints(faces)) == ["b0"]


def test_flat_images_are_not_all_the_same() -> None:
    flat = [np.full((32, 32, 3), value, np.uint8) for value in (0, 1, 2, 200)]
    assert duplicates.nearly_equal(prints(flat)) == []


def noise(seed: int, height: int = 64, width: int = 64) -> UInt8:
    """Blotches of 8 px, which no other seed has."""
    cells = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3))
    return cells.astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)


def between_bars(content: UInt8, value: int) -> UInt8:
    """An image (64, 64, 3) that shows a content (H, W, 3) between bars of one grey."""
    image = np.full((64, 64, 3), value, np.uint8)
    top, left = (64 - content.shape[0]) // 2, (64 - content.shape[1]) // 2
    image[top : top + content.shape[0], left : left + content.shape[1]] = content
    return image


@pytest.mark.parametrize("value", [0, 114, 255])
@pytest.mark.parametrize("shape", [(16, 64), (64, 24), (32, 40)])
def test_bars_around_images_are_not_compared(value: int, shape: tuple[int, int]) -> None:
    faint = [noise(seed, *shape) // 8 + 100 for seed in range(12)]
    padded = [between_bars(content, value) for content in faint]
    assert duplicates.nearly_equal(prints(padded)) == []
    again = [between_bars(saved_again(content[:, ::-1], 95), value) for content in faint[:3]]
    found = duplicates.nearly_equal(prints(again, "b"), prints(padded))
    assert found == [(f"b{i}", f"a{i}") for i in range(3)]


def test_a_bar_that_saving_has_blurred_is_one_still() -> None:
    padded = [between_bars(noise(seed, 32), 255) for seed in range(3)]
    found = duplicates.nearly_equal(
        prints([saved_again(one) for one in padded], "b"), prints(padded)
    )
    assert found == [(f"b{i}", f"a{i}") for i in range(3)]


def test_the_same_centre_between_other_bars_is_another_image() -> None:
    wide, high = between_bars(noise(1, 16, 64), 0), between_bars(noise(1, 64, 16), 0)
    wide[24:40, 24:40] = high[24:40, 24:40]
    assert duplicates.nearly_equal(prints([wide, high])) == []


@pytest.mark.parametrize("course", [lambda y, x: y, lambda y, x: -(y**2) - x**2])
def test_empty_slides_under_one_light_are_not_the_same(course) -> None:
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    light = 200 + 40 * course(y, x)[..., None]
    slides = [light + np.random.default_rng(i).normal(0, 3, (64, 64, 3)) for i in range(6)]
    images = [np.clip(slide, 0, 255).astype(np.uint8) for slide in slides]
    assert duplicates.nearly_equal(prints(images)) == []


def test_blank_images_are_none_that_occur_twice() -> None:
    blank = [np.full((32, 32, 3), 255, np.uint8)] * 3
    assert duplicates.num_repeated(prints(blank)) == 0
    assert duplicates.equal(prints(blank), prints(blank)) == []
    dot = blank[0].copy()
    dot[3, 4] = 0
    assert duplicates.num_repeated(prints([dot, dot])) == 1


def test_nothing_is_alike_where_there_is_nothing() -> None:
    assert duplicates.nearly_equal([]) == [] and duplicates.nearly_equal([], prints(drawn(1))) == []


def test_images_are_found_again_whichever_are_compared_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faces = drawn(9)
    both = prints([*faces, *(face[:, ::-1].copy() for face in faces)])
    found = duplicates.nearly_equal(both)
    assert found == [(f"a{9 + i}", f"a{i}") for i in range(9)]
    for num in (1, 2, 5, 17):
        monkeypatch.setattr(duplicates, "_ROWS", num)
        assert duplicates.nearly_equal(both) == found


def test_comparing_many_images_takes_little_memory_beside_their_fingerprints() -> None:
    random, shown = np.random.default_rng(0), np.ones((16, 16), bool)
    cells = random.integers(0, 256, (2000, 16, 16), np.uint8)
    many = [Fingerprint(str(i), bytes([*each[0]]), each, shown) for i, each in enumerate(cells)]
    tracemalloc.start()
    try:
        assert not duplicates.nearly_equal(many)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5000 * len(many), peak / len(many)
