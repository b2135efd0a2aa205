"""Claims about factory.labeling.probing: it finds the places of a network that carry the labels."""

from collections.abc import Collection, Mapping
from typing import cast

import numpy as np
import pytest
import torch
from torch import nn

from factory.classes import Classes
from factory.config import Config, DiffusionConfig, config_tree, dump_config, parse_config
from factory.data.loading import Labelled
from factory.diffusion.checkpoints import Model
from factory.diffusion.network import FeatureNetwork
from factory.errors import NotFinite, UserError
from factory.labeling import probe_outcome, probing
from factory.labeling.features import Places
from factory.labeling.folds import folds_of
from factory.labeling.probing import Probed
from factory.values import MIDDLE_BLOCK

CLASSES = Classes.named(["a", "b", "c", "d"], [(0, 0, 0), (9, 0, 0), (0, 9, 0), (0, 0, 9)])
SIZE = 8


class Planted(nn.Module):
    """A network whose blocks tell what of an image's classes they are planted to tell."""

    channels = 3
    block_channels: Mapping[int, int] = {MIDDLE_BLOCK: 5, 0: 4, 1: 4, 2: 4}
    block_downscaling: Mapping[int, int] = dict.fromkeys(block_channels, 1)
    default_blocks = (0, 1)

    def __init__(self, told: dict[tuple[int, int], str]) -> None:
        """told: by timestep and block: all classes, whether they are high or whether odd, or
        nothing that is a finite number."""
        super().__init__()
        self.told = told
        self.weight = nn.Parameter(torch.zeros(()))

    def features(
        self, x_t: torch.Tensor, t: torch.Tensor, blocks: Collection[int]
    ) -> dict[int, torch.Tensor]:
        timestep = int(t[0])
        classes = ((x_t[:, :1] + 1) * 1.5).round()
        found = {}
        for block in blocks:
            random = torch.Generator().manual_seed(10 * timestep + block)
            shape = (self.block_channels[block], SIZE, SIZE)
            noise = torch.randn(shape, generator=random)
            noise = noise + torch.randn((len(x_t), *shape), generator=random)
            told = self.told.get((timestep, block))
            if told == "all":
                noise[:, :4] += 6 * torch.cat([classes == i for i in range(4)], dim=1)
            elif told == "high":
                noise += 6 * (classes >= 2)
            elif told == "odd":
                noise += 6 * (classes % 2)
            elif told == "broken":
                noise *= float("inf")
            found[block] = noise
        return found


def labelled(num: int = 6, seed: int = 0) -> Labelled:
    """Images whose grey is the class of each pixel."""
    masks = np.random.default_rng(seed).integers(0, 4, (num, SIZE, SIZE), np.uint8)
    images = np.repeat(masks[..., None] * np.uint8(85), 3, axis=-1)
    return Labelled(images, masks, tuple(f"{i}.png" for i in range(num)), CLASSES)


def model(told: dict[tuple[int, int], str]) -> Model:
    diffusion = DiffusionConfig(num_timesteps=100, beta_start=1e-7, beta_end=1e-7)
    return Model(cast(FeatureNetwork, Planted(told)), diffusion, SIZE, "")


def config(**settings: object) -> Config:
    probe = {"timesteps": [10, 40, 80], "pixels_per_image": 64, "num_folds": 3, **settings}
    return parse_config(
        {"data": {"image_size": SIZE}, "probe": probe, "fit": {"timesteps": [10, 80]}}
    )


def probed(told: dict[tuple[int, int], str], **settings: object) -> Probed:
    return probing.probe(model(told), labelled(), config(**settings))


def test_the_one_place_that_carries_the_labels_is_found_and_nothing_is_added() -> None:
    found = probed({(40, 2): "all"})
    assert found.alone.shape == (3, 4) and found.blocks == (MIDDLE_BLOCK, 0, 1, 2)
    best = np.unravel_index(found.alone.argmax(), found.alone.shape)
    assert (found.timesteps[best[0]], found.blocks[best[1]]) == (40, 2)
    assert found.chosen.timesteps == (40,) and found.chosen.blocks == (2,)
    assert found.chosen.mean_iou > 0.9 > 0.4 > found.present.mean_iou
    assert found.present.timesteps == (10, 80) and found.present.blocks == (0, 1)


def test_places_that_tell_only_together_are_chosen_together() -> None:
    found = probed({(40, 0): "high", (40, 2): "odd"})
    assert found.chosen.timesteps == (40,) and found.chosen.blocks == (0, 2)
    assert len(found.steps) == 2
    noise = found.chosen.noise
    assert noise is not None and found.chosen.mean_iou - found.steps[0].mean_iou > noise > 0


def test_the_middle_block_is_found_and_chosen_as_any_other_and_told_by_its_word() -> None:
    found = probed({(40, MIDDLE_BLOCK): "high", (40, 2): "odd"})
    assert found.chosen.timesteps == (40,) and found.chosen.blocks == (MIDDLE_BLOCK, 2)
    assert found.alone[1].argsort()[-2:].tolist() in ([0, 3], [3, 0])
    assert found.chosen.words() == "timesteps 40 | blocks middle, 2"
    told = probe_outcome.as_json(found, CLASSES)
    assert told["blocks"] == ["middle", 0, 1, 2] and told["chosen"]["blocks"] == ["middle", 2]
    chosen = probe_outcome.with_choice(config(), found.chosen)
    assert "blocks:\n  - middle\n  - 2\n" in dump_config(chosen)
    assert parse_config(config_tree(chosen)) == chosen


def test_a_network_without_a_middle_block_is_probed_without_it_and_refuses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Planted, "block_channels", {0: 4, 1: 4, 2: 4})
    assert probed({(40, 2): "all"}).blocks == (0, 1, 2)
    asked = parse_config({**config_tree(config()), "fit": {"blocks": ["middle", 1]}})
    with pytest.raises(UserError, match=r"^fit.blocks: middle: the model's blocks are 0\.\.2\.$"):
        probing.probe(model({}), labelled(), asked)


def test_the_table_tells_each_place_each_step_and_whether_the_choice_is_better() -> None:
    lines = probe_outcome.table(probed({(40, 0): "high", (40, 2): "odd"}))
    assert lines[1].split() == ["timestep", "middle", "block", "0", "block", "1", "block", "2"]
    assert [line.split()[0] for line in lines[2:5]] == ["10", "40", "80"]
    assert "timesteps 40 | blocks 0, 2 (+0." in lines[-3]
    assert "timesteps 10, 80 | blocks 0, 1 (what is chosen is better: +0." in lines[-1]


def test_no_more_timesteps_are_chosen_than_passes_are_allowed() -> None:
    told = {(10, 1): "high", (80, 1): "odd"}
    assert probed(told).chosen.timesteps == (10, 80)
    assert len(probed(told, num_passes=1).chosen.timesteps) == 1


def test_the_same_seed_finds_the_same() -> None:
    first, again = (probed({(40, 0): "high"}, pixels_per_image=20) for _ in range(2))
    other = probed({(40, 0): "high"}, pixels_per_image=20, seed=1)
    assert np.array_equal(first.alone, again.alone) and first.chosen.words() == again.chosen.words()
    assert not np.array_equal(first.alone, other.alone)


def test_folds_are_of_whole_images_and_those_with_labels_are_spread_evenly() -> None:
    images = labelled(8)
    masks = images.masks.copy()
    masks[[1, 4]] = 255
    folds = folds_of(Labelled(images.images, masks, images.names, CLASSES), 3, 0)
    assert len(folds) == 8
    with_labels = np.delete(folds.numpy(), [1, 4])
    assert sorted(with_labels.tolist()) == [0, 0, 1, 1, 2, 2]
    assert int(folds_of(labelled(2), 5, 0).max()) == 1


def test_a_pixel_stands_for_those_of_its_class_that_were_not_chosen() -> None:
    images, settings = labelled(), config(pixels_per_image=20)
    chosen = probing.chosen_pixels(images, settings)
    read = probing.read_places(model({}), images, Places((10,), (0, 1, 2), 0), chosen, settings)
    assert len(read.labels) == 6 * 20 and read.features.shape == (12, 120)
    for i in range(4):
        assert float(read.shares[read.labels == i].sum()) == pytest.approx(
            (images.masks == i).sum()
        )


def test_the_features_that_fit_takes_are_measured_alone_as_they_are_beside_others() -> None:
    told = {(10, 1): "high", (80, 1): "odd"}
    alone = probing.present_counts(model(told), labelled(), config())
    present = probed(told).present
    assert alone.mean_iou == pytest.approx(present.mean_iou, abs=1e-3)
    assert np.array_equal(alone.truth, present.counts.truth)


def test_features_that_are_not_finite_are_no_measure() -> None:
    with pytest.raises(NotFinite, match="timestep 10"):
        probing.present_counts(model({(10, 0): "broken"}), labelled(), config())


def test_axes_of_a_place_are_those_along_which_it_varies_most() -> None:
    random = torch.Generator().manual_seed(0)
    common = torch.randn(500, 1, generator=random)
    descriptors = 3 + 5 * (common + 0.1 * torch.randn(500, 6, generator=random))
    axis = probing.main_axes(descriptors, 1)[:, 0]
    assert abs(np.corrcoef(axis.numpy(), common[:, 0].numpy())[0, 1]) > 0.99
    assert torch.allclose(axis.mean(), torch.zeros(()), atol=1e-4)


def test_all_that_keeps_a_probe_from_being_made_is_told_at_once() -> None:
    images = labelled(3)
    masks = np.full_like(images.masks, 255)
    masks[0] = 1
    one = Labelled(images.images, masks, images.names, CLASSES)
    wrong = config(timesteps=[10, 100])
    wrong = wrong.model_copy(update={"fit": wrong.fit.model_copy(update={"blocks": (7,)})})
    with pytest.raises(UserError) as refusal:
        probing.probe(model({}), one, wrong)
    about = ["probe.timesteps: 100", "data.labelled: 1 image of 3", "fit.blocks: 7"]
    assert len(refusal.value.problems) == 3
    assert all(map(str.startswith, refusal.value.problems, about))
