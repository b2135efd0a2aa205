"""Claims about what a DDPM's folder keeps of its training images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from factory.data.toy import drawing
from factory.errors import UserError
from factory.images import UInt8, to_signed
from factory.likeness import training_images
from factory.likeness.feature_space import features
from factory.likeness.nearest import nearest, own_distances, usual_distance
from factory.likeness.training_images import FILE, TrainingImages, kept, read_training_images
from factory.likeness.training_images import write_training_images as write

NUM, SIZE = 40, 16


def drawn(seed: int, num: int) -> UInt8:
    return np.stack([drawing.draw(seed, index, SIZE)[0] for index in range(num)])


def signed(images: UInt8) -> torch.Tensor:
    return to_signed(torch.from_numpy(np.ascontiguousarray(images))).permute(0, 3, 1, 2)


@pytest.fixture
def found(tmp_path: Path) -> TrainingImages:
    write(str(tmp_path), drawn(5, NUM), NUM)
    read = read_training_images(str(tmp_path))
    assert read is not None
    return read


def test_an_image_is_as_near_as_in_the_report(found: TrainingImages) -> None:
    others, training = drawn(6, 7), features(drawn(5, NUM)).layout
    unit = usual_distance(own_distances(training))
    mirrored = features(others[:, :, ::-1]).layout
    expected = nearest(features(others).layout, mirrored, training, unit)
    told = found.nearest(signed(others))
    assert told.indices.tolist() == expected.indices.tolist()
    assert torch.allclose(told.distances, expected.distances, rtol=2e-3)


def test_a_training_image_and_its_mirror_image_are_found_by_their_numbers(
    found: TrainingImages,
) -> None:
    copies = drawn(5, NUM)[[3, 17]]
    for images in (copies, copies[:, :, ::-1]):
        told = found.nearest(signed(images))
        assert told.indices.tolist() == [3, 17] and told.distances.max() < 0.01


def test_of_many_images_a_part_is_kept_and_their_numbers_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_images, "MAX_IMAGES", 15)
    assert list(kept(NUM)) == list(range(0, NUM, 3)) and list(kept(15)) == list(range(15))
    write(str(tmp_path), drawn(5, NUM)[::3], NUM)
    read = read_training_images(str(tmp_path))
    assert read is not None and (len(read.layout), read.total) == (14, NUM)
    assert read.nearest(signed(drawn(5, NUM)[[9]])).indices.tolist() == [9]


def test_a_file_takes_half_a_kilobyte_an_image(tmp_path: Path, found: TrainingImages) -> None:
    assert load_file(tmp_path / FILE)["layout"].dtype == torch.float16
    larger = tmp_path / "larger"
    larger.mkdir()
    write(str(larger), drawn(5, 2 * NUM), 2 * NUM)
    grown = (larger / FILE).stat().st_size - (tmp_path / FILE).stat().st_size
    assert 512 * NUM <= grown <= 540 * NUM


def test_a_folder_that_keeps_nothing_says_so(tmp_path: Path) -> None:
    assert read_training_images(str(tmp_path)) is None


def test_a_damaged_file_is_refused_by_name(tmp_path: Path, found: TrainingImages) -> None:
    file = tmp_path / FILE
    tensors = load_file(file)
    for name in ("layout", "numbers", "own", "total"):
        save_file({key: value for key, value in tensors.items() if key != name}, file)
        with pytest.raises(UserError, match=rf"{FILE}.*anew with `factory fingerprint`"):
            read_training_images(str(tmp_path))
    broken = torch.full_like(tensors["layout"], float("nan"))
    for changed in (tensors["layout"][1:].contiguous(), broken):
        save_file({**tensors, "layout": changed}, file)
        with pytest.raises(UserError, match="layout"):
            read_training_images(str(tmp_path))
    file.write_bytes(b"no tensors")
    with pytest.raises(UserError, match=r"damaged.*anew with `factory fingerprint`"):
        read_training_images(str(tmp_path))
