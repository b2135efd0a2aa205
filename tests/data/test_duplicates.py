"""Claims about images that occur twice: they are found, and images that are alike are not."""

import io

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
