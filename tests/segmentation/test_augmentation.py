import pytest
import torch

from factory.classes import IGNORE_ID
from factory.config import parse_config
from factory.config.segment import SegmentConfig
from factory.images import to_signed
from factory.segmentation.augmentation import augmented

SAME_IDS = torch.arange(256)


def settings_of(**keys: object) -> SegmentConfig:
    off = {"horizontal_flip": False, "max_zoom": 1, "max_degrees": 0, "max_light": 0}
    return parse_config({"segment": {**off, **keys}}).segment


@pytest.fixture
def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    """64 images of 12 px whose first channel shows the class, 40 times its id, of each pixel."""
    torch.manual_seed(0)
    masks = torch.randint(0, 5, (64, 3, 3)).repeat_interleave(4, 1).repeat_interleave(4, 2).byte()
    images = torch.randint(0, 256, (64, 3, 12, 12)).byte()
    images[:, 0] = masks * 40
    return images, masks


def test_without_augmentation_pairs_are_as_they_are(pairs) -> None:
    images, masks = augmented(pairs[0], pairs[1], SAME_IDS, settings_of())
    assert torch.equal(images, to_signed(pairs[0])) and torch.equal(masks, pairs[1].long())


def test_half_are_mirrored_and_their_sides_change_places(pairs) -> None:
    swapped = SAME_IDS.clone()
    swapped[1], swapped[2] = 2, 1
    images, masks = augmented(pairs[0], pairs[1], swapped, settings_of(horizontal_flip=True))
    mirrored = (images == to_signed(pairs[0].flip(3))).all(3).all(2).all(1)
    assert 16 < int(mirrored.sum()) < 48
    assert torch.equal(masks[mirrored], swapped[pairs[1].long().flip(2)][mirrored])
    assert torch.equal(masks[~mirrored], pairs[1].long()[~mirrored])


def test_image_and_mask_are_moved_alike_and_what_is_outside_is_ignored(pairs) -> None:
    images, masks = augmented(
        pairs[0], pairs[1], SAME_IDS, settings_of(max_zoom=1.5, max_degrees=30)
    )
    told = (images[:, 0] + 1) * 127.5 / 40
    inside = masks != IGNORE_ID
    assert 0.5 < float(inside.float().mean()) < 1
    # Between two classes an image is blended; elsewhere it shows its own.
    assert float((told[inside] - masks[inside]).abs().lt(0.02).float().mean()) > 0.5
    assert set(masks.unique().tolist()) <= {0, 1, 2, 3, 4, IGNORE_ID}


def test_light_changes_pixels_within_their_range_and_no_mask(pairs) -> None:
    images, masks = augmented(pairs[0], pairs[1], SAME_IDS, settings_of(max_light=0.5))
    assert torch.equal(masks, pairs[1].long())
    assert float(images.min()) >= -1 and float(images.max()) <= 1
    assert not torch.equal(images, to_signed(pairs[0]))


def test_ignored_pixels_stay_ignored(pairs) -> None:
    ignored = torch.full_like(pairs[1], IGNORE_ID)
    settings = settings_of(horizontal_flip=True, max_zoom=2, max_degrees=45)
    _, masks = augmented(pairs[0], ignored, SAME_IDS, settings)
    assert set(masks.unique().tolist()) == {IGNORE_ID}
