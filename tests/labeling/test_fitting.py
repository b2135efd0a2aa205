"""Claims about factory.labeling.fitting: the ensemble learns from few labelled images."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from factory.classes import IGNORE_ID, Classes
from factory.config import Config
from factory.data import toy
from factory.data.sources import Labelled
from factory.diffusion.checkpoints import Model, load_model
from factory.errors import UserError
from factory.labeling import fitting
from factory.labeling.ensemble import Ensemble, label_maps
from factory.labeling.fitting import (
    TrainingPixels,
    ensemble_config,
    fit_ensemble,
    image_maps,
    members_loss,
    mirror_ids,
)

TOY = Classes.named(toy.CLASSES, toy.PALETTE)
KNOBS = {
    "num_members": 3,
    "hidden": [32, 16],
    "num_steps": 60,
    "pixels_per_step": 480,
    "learning_rate": 1e-2,
}


def drawings(seed: int, num: int) -> Labelled:
    images, masks = toy.draw_many(seed, num, 16)
    return Labelled(images, masks, tuple(f"toy-{seed}-{i}" for i in range(num)), TOY)


def relabelled(labelled: Labelled, masks: np.ndarray) -> Labelled:
    return Labelled(labelled.images, masks, labelled.names, labelled.classes)


@pytest.fixture(scope="module")
def training() -> Labelled:
    return drawings(2, 12)


@pytest.fixture(scope="module")
def held_out() -> Labelled:
    return drawings(3, 12)


@pytest.fixture
def model(tiny_models) -> Model:
    return load_model(tiny_models["ddpm_url"])


def silent(line: str) -> None:
    pass


def fit(model: Model, labelled: Labelled, config: Config) -> Ensemble:
    return fit_ensemble(model, labelled, config, silent)


def predicted(model: Model, ensemble: Ensemble, images: np.ndarray) -> np.ndarray:
    maps = image_maps(model, ensemble.config, images)
    return label_maps(ensemble, maps, 16, "soft").masks.numpy()


def test_it_labels_unseen_drawings_far_better_than_the_commonest_class(
    model, training, held_out, tiny_config
) -> None:
    ensemble = fit(model, training, tiny_config(ensemble=KNOBS))
    right = (predicted(model, ensemble, held_out.images) == held_out.masks).mean()
    commonest = np.bincount(training.masks.ravel()).argmax()
    baseline = (held_out.masks == commonest).mean()
    assert right > baseline + 0.25, (right, baseline)
    assert not ensemble.training and not any(p.requires_grad for p in ensemble.parameters())


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    model, training, tiny_config
) -> None:
    few = {**KNOBS, "num_steps": 4}
    once, again = (fit(model, training, tiny_config(ensemble=few)).state_dict() for _ in range(2))
    assert all(torch.equal(once[key], again[key]) for key in once)
    other = fit(model, training, tiny_config(ensemble={**few, "seed": 1})).state_dict()
    assert not torch.equal(once["linear_1.weight"], other["linear_1.weight"])


def test_ignored_pixels_are_not_learned_from(model, training, held_out, tiny_config) -> None:
    """A class whose pixels are all ignored is never told; the others are learned as before."""
    masks = np.where(training.masks == toy.HAIR, IGNORE_ID, training.masks).astype(np.uint8)
    ensemble = fit(model, relabelled(training, masks), tiny_config(ensemble=KNOBS))
    told = predicted(model, ensemble, held_out.images)
    assert (told == toy.HAIR).mean() < 0.002 < (held_out.masks == toy.HAIR).mean()
    others = held_out.masks != toy.HAIR
    commonest = np.bincount(held_out.masks[others]).argmax()
    baseline = (held_out.masks[others] == commonest).mean()
    assert (told == held_out.masks)[others].mean() > baseline + 0.2


def test_the_loss_is_that_of_the_pixels_that_are_not_ignored() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 20, 5, generator=generator).requires_grad_()
    labels = torch.randint(5, (20,), generator=generator)
    labels[[0, 3, 11]] = IGNORE_ID
    kept = labels != IGNORE_ID
    loss = members_loss(logits, labels)
    wanted = sum(F.cross_entropy(member[kept], labels[kept]) for member in logits)
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-6)
    loss.backward()
    assert (logits.grad[:, ~kept] == 0).all() and (logits.grad[:, kept] != 0).any()


def test_a_step_that_meets_only_ignored_pixels_does_no_harm(model, training, tiny_config) -> None:
    masks = np.full_like(training.masks, IGNORE_ID)
    masks[:, 8, 8] = training.masks[:, 8, 8]  # one pixel an image: most steps see none
    knobs = {**KNOBS, "num_steps": 6, "pixels_per_step": 24}
    ensemble = fit(model, relabelled(training, masks), tiny_config(ensemble=knobs))
    assert all(bool(torch.isfinite(value).all()) for value in ensemble.state_dict().values())
    assert not members_loss(torch.zeros(2, 4, 3), torch.full((4,), IGNORE_ID)).isnan()


@pytest.mark.parametrize("num_images, num", [(4, 100), (4, 4), (9, 5)])
def test_drawn_labels_belong_to_the_drawn_descriptors(num_images: int, num: int) -> None:
    size = 6
    image, row, column = torch.meshgrid(
        torch.arange(num_images), torch.arange(size), torch.arange(size), indexing="ij"
    )
    labels = (image * 25 + row * size + column).flatten(1).to(torch.uint8)
    maps = [torch.stack([image, row, column], dim=1).float()[:, :2], column[:, None].float()]
    torch.manual_seed(0)
    drawn, given = TrainingPixels(maps, labels).draw(num)
    assert len(drawn) == len(given) and 0 < len(given) <= num
    i, r, c = drawn.round().long().T
    assert torch.equal(given, i * 25 + r * size + c)
    assert given.dtype == torch.int64
    assert len(set(i.tolist())) == min(num, num_images)


def test_draws_reach_every_image_and_every_pixel() -> None:
    maps = [torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 4, 4).contiguous()]
    labels = torch.arange(16, dtype=torch.uint8).repeat(3, 1)
    torch.manual_seed(0)
    drawn, given = TrainingPixels(maps, labels).draw(600)
    pairs = set(zip(drawn[:, 0].round().int().tolist(), given.tolist(), strict=True))
    assert pairs == {(image, pixel) for image in range(3) for pixel in range(16)}


def test_mirrored_sides_change_places_and_what_has_no_partner_stays() -> None:
    names = ["skin", "l_eye", "r_eye", "l_lip", "left_ear", "right_ear", "r_sock", "ear_r"]
    table = mirror_ids(Classes.named(names))
    assert table.dtype == np.uint8 and table.shape == (256,)
    assert table[: len(names)].tolist() == [0, 2, 1, 3, 5, 4, 6, 7]
    assert table[len(names) :].tolist() == list(range(len(names), 256))
    assert table[IGNORE_ID] == IGNORE_ID
    assert np.array_equal(table[table], np.arange(256))


@pytest.mark.parametrize("flip", [True, False])
def test_flipping_doubles_the_data_with_sides_swapped(
    model, tiny_config, monkeypatch, flip: bool
) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    masks = rng.integers(0, 3, (3, 16, 16)).astype(np.uint8)
    masks[:, 0, 0] = IGNORE_ID
    classes = Classes.named(["skin", "l_eye", "r_eye"])
    seen: list[TrainingPixels] = []
    monkeypatch.setattr(fitting, "_fit", lambda ensemble, data, *rest: seen.append(data))
    config = tiny_config(ensemble={**KNOBS, "horizontal_flip": flip})
    fit(model, Labelled(images, masks, ("a", "b", "c"), classes), config)

    labels = seen[0].labels.view(-1, 16, 16).numpy()
    assert np.array_equal(labels[:3], masks)
    learned = ensemble_config(model, classes, config)
    as_told = images
    if flip:
        swapped = np.choose(np.minimum(masks, 3), [0, 2, 1, IGNORE_ID])[:, :, ::-1]
        assert np.array_equal(labels[3:], swapped)
        as_told = np.concatenate([images, images[:, :, ::-1]])
    assert len(labels) == len(as_told)
    for given, wanted in zip(seen[0].maps, image_maps(model, learned, as_told), strict=True):
        torch.testing.assert_close(given, wanted, rtol=1e-5, atol=1e-5)


def test_maps_do_not_hang_on_how_many_images_pass_at_once(
    model, training, tiny_config, monkeypatch
) -> None:
    learned = ensemble_config(model, TOY, tiny_config())
    whole = image_maps(model, learned, training.images[:5])
    monkeypatch.setattr(fitting, "_IMAGES_PER_PASS", 2)
    for a, b in zip(whole, image_maps(model, learned, training.images[:5]), strict=True):
        assert a.shape == b.shape and len(a) == 5
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_blocks_and_timesteps_that_the_model_lacks_are_refused(model, tiny_config) -> None:
    config = tiny_config(features={"timesteps": [10], "blocks": [1, 4]})
    with pytest.raises(UserError, match=r"features\.blocks: 4 .* 0\.\.3"):
        ensemble_config(model, TOY, config)
    config = tiny_config(features={"timesteps": [100], "blocks": [1]}, diffusion={})
    with pytest.raises(UserError, match=r"features\.timesteps: 100 .* 100 timesteps"):
        ensemble_config(model, TOY, config)


def test_the_ensemble_tells_what_it_was_fitted_on(model, tiny_config) -> None:
    config = tiny_config(ensemble={**KNOBS, "seed": 5}, features={"timesteps": [10, 40, 5]})
    learned = ensemble_config(model, TOY, config)
    assert learned.ddpm_hash == model.model_hash and learned.image_size == 16
    assert learned.classes == TOY and learned.noise_seed == 5
    assert (learned.timesteps, learned.blocks) == ((10, 40, 5), (1, 2))
    assert learned.descriptor_dim == 3 * (32 + 16)
    assert (learned.num_members, learned.hidden) == (3, (32, 16))


def test_progress_is_told_with_the_loss(model, training, tiny_config) -> None:
    lines: list[str] = []
    config = tiny_config(ensemble={**KNOBS, "num_steps": 3})
    fit_ensemble(model, training, config, lines.append)
    assert len(lines) == 1 and "step 3/3" in lines[0] and "loss" in lines[0]
