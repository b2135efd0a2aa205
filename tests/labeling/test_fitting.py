"""Claims about factory.labeling.fitting: the ensemble learns from few labelled images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from factory.classes import IGNORE_ID, Classes
from factory.config import Config, parse_config
from factory.data.loading import Labelled
from factory.data.toy import faces
from factory.diffusion.checkpoints import Model, load_model
from factory.errors import UserError
from factory.labeling import ensemble_fitting, fitting
from factory.labeling.ensemble import Ensemble, EnsembleConfig
from factory.labeling.ensemble_fitting import fit_pool, members_loss
from factory.labeling.features import pixel_descriptors
from factory.labeling.fitting import fit_head, image_maps, new_head_config
from factory.labeling.heads import HEADS
from factory.labeling.mirroring import mirror_ids
from factory.labeling.pixel_pool import Axes, choose_pixels, read_pool
from factory.values import MIDDLE_BLOCK
from tests.drawings import draw_many

TOY = Classes.named(faces.CLASSES, faces.PALETTE)
KNOBS = {
    "num_members": 3,
    "hidden": [32, 16],
    "num_steps": 60,
    "pixels_per_step": 480,
    "learning_rate": 1e-2,
}


def drawings(seed: int, num: int) -> Labelled:
    images, masks = draw_many(seed, num, 16)
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


def fit(model: Model, labelled: Labelled, config: Config) -> Ensemble:
    return fit_head(model, labelled, config)


def predicted(model: Model, ensemble: Ensemble, images: np.ndarray) -> np.ndarray:
    maps = image_maps(model, ensemble.config, images)
    return ensemble.label(maps, 16).soft.numpy()


def test_it_labels_unseen_drawings_far_better_than_the_commonest_class(
    model, training, held_out, tiny_config
) -> None:
    ensemble = fit(model, training, tiny_config(fit=KNOBS))
    right = (predicted(model, ensemble, held_out.images) == held_out.masks).mean()
    commonest = np.bincount(training.masks.ravel()).argmax()
    baseline = (held_out.masks == commonest).mean()
    assert right > baseline + 0.25, (right, baseline)
    assert not ensemble.training and not any(p.requires_grad for p in ensemble.parameters())


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    model, training, tiny_config
) -> None:
    few = {**KNOBS, "num_steps": 4}
    once, again = (fit(model, training, tiny_config(fit=few)).state_dict() for _ in range(2))
    assert all(torch.equal(once[key], again[key]) for key in once)
    other = fit(model, training, tiny_config(fit={**few, "seed": 1})).state_dict()
    assert not torch.equal(once["linear_1.weight"], other["linear_1.weight"])


def test_ignored_pixels_are_not_learned_from(model, training, held_out, tiny_config) -> None:
    """A class whose pixels are all ignored is never predicted; the others are learned as before."""
    masks = np.where(training.masks == faces.HAIR, IGNORE_ID, training.masks).astype(np.uint8)
    ensemble = fit(model, relabelled(training, masks), tiny_config(fit=KNOBS))
    predictions = predicted(model, ensemble, held_out.images)
    assert (predictions == faces.HAIR).mean() < 0.002 < (held_out.masks == faces.HAIR).mean()
    others = held_out.masks != faces.HAIR
    commonest = np.bincount(held_out.masks[others]).argmax()
    baseline = (held_out.masks[others] == commonest).mean()
    assert (predictions == held_out.masks)[others].mean() > baseline + 0.2


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


def test_smoothing_spreads_a_share_of_each_label_over_all_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 20, 5, generator=generator)
    labels = torch.randint(5, (20,), generator=generator)
    labels[4] = IGNORE_ID
    kept = labels != IGNORE_ID
    targets = 0.7 * F.one_hot(labels[kept], 5) + 0.3 / 5
    wanted = -sum((targets * member[kept].log_softmax(-1)).sum(-1).mean() for member in logits)
    torch.testing.assert_close(members_loss(logits, labels, 0.3), wanted)


@pytest.mark.slow
def test_smoothed_labels_leave_members_less_sure(model, training, held_out, tiny_config) -> None:
    spread = []
    for smoothing in (0, 0.3):
        config = tiny_config(fit={**KNOBS, "label_smoothing": smoothing})
        ensemble = fit(model, training, config)
        descriptors = pixel_descriptors(
            image_maps(model, ensemble.config, held_out.images[:2]), torch.arange(512), 16
        )
        p = ensemble(descriptors).softmax(-1)
        spread.append(float(-(p * p.clamp_min(1e-30).log()).sum(-1).mean()))
    assert spread[1] > spread[0] + 0.2, spread


def test_a_loss_over_ignored_pixels_alone_is_zero() -> None:
    assert members_loss(torch.zeros(2, 4, 3), torch.full((4,), IGNORE_ID)) == 0


def test_one_labelled_pixel_an_image_is_enough(model, training, tiny_config) -> None:
    masks = np.full_like(training.masks, IGNORE_ID)
    masks[:, 8, 8] = training.masks[:, 8, 8]
    settings = {**KNOBS, "num_steps": 6, "pixels_per_step": 24}
    ensemble = fit(model, relabelled(training, masks), tiny_config(fit=settings))
    assert all(bool(torch.isfinite(value).all()) for value in ensemble.state_dict().values())


def test_masks_without_any_label_are_refused(model, training, tiny_config) -> None:
    nothing = relabelled(training, np.full_like(training.masks, IGNORE_ID))
    with pytest.raises(UserError, match=r"data\.labelled: every pixel .* ignored"):
        fit(model, nothing, tiny_config(fit=KNOBS))


def test_every_pixel_is_chosen_where_all_fit_but_those_that_are_ignored() -> None:
    labels = torch.randint(4, (5, 36), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    labels[labels == 3] = IGNORE_ID
    for num in (180, 10**9):
        chosen = choose_pixels(labels, num)
        kept = (labels.flatten() != IGNORE_ID).nonzero().flatten()
        assert torch.equal(chosen.positions, kept)
        assert torch.equal(chosen.labels, labels.flatten()[kept].long())


def test_where_not_all_fit_rare_classes_are_kept_and_are_drawn_no_more_often_for_it() -> None:
    labels = torch.zeros(10, 10_000, dtype=torch.uint8)
    labels[:, :40] = 3
    labels[:, 9_000:] = IGNORE_ID
    torch.manual_seed(0)
    whole, chosen = (choose_pixels(labels, num) for num in (100_000, 2_000))
    assert len(chosen) == 2_000 == len(chosen.positions.unique())
    assert (labels.flatten()[chosen.positions] == chosen.labels).all()
    assert int((chosen.labels == 3).sum()) > 3 * 2_000 * 400 / 90_000
    rare, rare_of_whole = (
        float(some.weights[some.labels == 3].sum() / some.weights.sum()) for some in (chosen, whole)
    )
    assert rare == pytest.approx(rare_of_whole)
    assert 400 / 90_000 < rare < 0.5
    assert len((chosen.positions // 10_000).unique()) == 10


def positions_as_maps(num_images: int, size: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Maps whose values at a pixel are its image, row and column; a label that tells them all."""
    axes = [torch.arange(num_images), torch.arange(size), torch.arange(size)]
    image, row, column = torch.meshgrid(*axes, indexing="ij")
    labels = (image * 40 + row * size + column).flatten(1).to(torch.uint8)
    return [torch.stack([image, row], dim=1).float(), column[:, None].float()], labels


def learned_of(maps: list[torch.Tensor], size: int, num_classes: int) -> EnsembleConfig:
    classes = Classes.named([f"class {i}" for i in range(num_classes)])
    return EnsembleConfig(
        class_names=classes.names,
        palette=classes.palette,
        image_size=size,
        timesteps=(1,),
        blocks=(1,),
        noise_seed=0,
        descriptor_dim=sum(m.shape[1] for m in maps),
        num_members=2,
        hidden=(8, 4),
        ddpm_hash="",
    )


@pytest.mark.parametrize("split", [[5], [2, 2, 1], [1, 3, 1]])
def test_labels_belong_to_their_coordinates_however_images_pass(
    monkeypatch, split: list[int]
) -> None:
    monkeypatch.setattr("factory.labeling.pixel_pool._AXES_IMAGES", 2)
    maps, labels = positions_as_maps(num_images=5, size=6)
    labels[3, 4:20] = IGNORE_ID
    labels[2] = IGNORE_ID  # a pass may have nothing to learn from
    passes = zip(*(m.split(split) for m in maps), strict=True)
    torch.manual_seed(0)
    pool = read_pool(passes, choose_pixels(labels, 180), 6)
    coordinates, drawn = pool.draw(2_000)
    assert coordinates.dtype == torch.bfloat16 and drawn.dtype == torch.int64
    axes = pool.axes
    back = coordinates.float() @ torch.linalg.pinv(axes.directions) * axes.deviation + axes.mean
    image, row, column = back.round().long().T
    assert torch.equal(drawn, image * 40 + row * 6 + column)
    assert set(drawn.tolist()) == set(labels[labels != IGNORE_ID].tolist())


def correlated_maps() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(4, 30, 30, 12, generator=generator) @ torch.randn(12, 12)
    return [mixed.permute(0, 3, 1, 2) * 100 + 1_000]


def test_coordinates_along_axes_are_uncorrelated_and_keep_their_proportions() -> None:
    torch.manual_seed(0)
    maps = correlated_maps()
    axes = Axes.of(maps[0].permute(0, 2, 3, 1).flatten(0, 2))
    seen = axes.coordinates(maps, torch.arange(4 * 900), 30)
    assert (torch.corrcoef(seen.T) - torch.eye(12)).abs().max() < 0.01
    assert float(seen.std()) == pytest.approx(1, rel=0.01) and seen.mean(dim=0).abs().max() < 0.01
    assert float(seen[:, 0].std()) > 2 * float(seen[:, -1].std())  # no axis is blown up


def test_only_the_axes_along_which_most_varies_are_kept(monkeypatch) -> None:
    monkeypatch.setattr("factory.labeling.pixel_pool._NUM_AXES", 3)
    torch.manual_seed(0)
    narrow = torch.randn(500, 3) @ torch.randn(3, 12)
    axes = Axes.of(narrow + 1e-3 * torch.randn(500, 12))
    assert axes.directions.shape == (12, 3)
    centred = (narrow - axes.mean) / axes.deviation
    kept = centred @ axes.directions @ torch.linalg.pinv(axes.directions)
    torch.testing.assert_close(kept, centred, rtol=0, atol=1e-2)


def test_an_ensemble_fitted_to_coordinates_takes_descriptors(monkeypatch) -> None:
    """On what it was fitted to, it answers as the fitted network did, whose loss was printed."""
    torch.manual_seed(0)
    maps = correlated_maps()
    descriptors = maps[0].permute(0, 2, 3, 1).flatten(0, 2)
    labels = (descriptors[:, 0] > descriptors[:, 1]).view(4, 900).to(torch.uint8)
    learned = learned_of(maps, 30, 2)
    pool = read_pool([maps], choose_pixels(labels, 3_600), 30)
    seen: list[Ensemble] = []
    original = ensemble_fitting.unfolded
    monkeypatch.setattr(
        ensemble_fitting,
        "unfolded",
        lambda *arguments: seen.append(arguments[0]) or original(*arguments),
    )
    settings = parse_config({"fit": {**KNOBS, "num_steps": 100}}).fit
    ensemble = fit_pool(learned, pool, settings)
    wanted = seen[0].eval()(pool.axes.coordinates(maps, torch.arange(3_600), 30))
    logits = ensemble(descriptors)
    assert (logits - wanted).abs().max() < 1e-2 * wanted.std()
    right = logits.mean(dim=0).argmax(dim=1) == labels.flatten()
    assert right.double().mean() > 0.9


def test_a_pool_takes_the_memory_that_it_is_given(
    model, training, tiny_config, monkeypatch
) -> None:
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(
        ensemble_fitting, "fit_pool", lambda learned, pool, *rest: seen.append(pool.coordinates)
    )
    for gib in (1e-4, 1.0):
        fit(model, training, tiny_config(fit={**KNOBS, "pool_gib": gib}))
    small, whole = seen
    assert whole.shape == (2 * 12 * 16**2, 2 * (32 + 16))
    row = 2 * whole.shape[1]
    assert 1e-4 * 2**30 - row < small.nbytes <= 1e-4 * 2**30


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_either_precision_learns(model, training, held_out, tiny_config, precision: str) -> None:
    ensemble = fit(model, training, tiny_config(fit={**KNOBS, "precision": precision}))
    right = (predicted(model, ensemble, held_out.images) == held_out.masks).mean()
    assert all(value.dtype != torch.bfloat16 for value in ensemble.state_dict().values())
    assert right > 0.6, right


def test_members_vote_on_mirrored_images_if_they_learn_from_them(model, tiny_config) -> None:
    def told(**settings: bool) -> dict[str, object]:
        return new_head_config(model, TOY, tiny_config(fit=settings)).model_dump(mode="json")

    assert told()["mirrored"] is True
    for settings in ({"mirrored_votes": False}, {"horizontal_flip": False}):
        assert "mirrored" not in told(**settings), "as in the folders of ensembles before"


def test_mirrored_sides_change_places_and_what_has_no_partner_stays() -> None:
    names = ["skin", "l_eye", "r_eye", "l_lip", "left_ear", "right_ear", "r_sock", "ear_r"]
    table = mirror_ids(Classes.named(names))
    assert table.dtype == np.uint8 and table.shape == (256,)
    assert table[: len(names)].tolist() == [0, 2, 1, 3, 5, 4, 6, 7]
    assert table[len(names) :].tolist() == list(range(len(names), 256))
    assert table[IGNORE_ID] == IGNORE_ID
    assert np.array_equal(table[table], np.arange(256))


@pytest.mark.parametrize(
    ("name", "partner"),
    [
        ("lung_left", "lung_right"),
        ("leftMask", "rightMask"),
        ("Left Kidney", "Right Kidney"),
        ("ear (L)", "ear (R)"),
        ("RIGHT", "LEFT"),
        ("hand-r", "hand-l"),
    ],
)
def test_a_side_may_stand_anywhere_in_a_name(name: str, partner: str) -> None:
    table = mirror_ids(Classes.named(["road", name, "bright", "curl", partner]))
    assert table[:5].tolist() == [0, 4, 2, 3, 1]


@pytest.mark.parametrize("flip", [True, False])
def test_flipping_doubles_the_data_with_sides_swapped(
    model, tiny_config, monkeypatch, flip: bool
) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    masks = rng.integers(0, 3, (3, 16, 16)).astype(np.uint8)
    masks[:, 0, 0] = IGNORE_ID
    classes = Classes.named(["skin", "l_eye", "r_eye"])
    seen: dict[str, np.ndarray] = {}
    monkeypatch.setattr(fitting, "map_passes", lambda *arguments: seen.update(images=arguments[2]))
    watched = replace(
        ensemble_fitting.KIND,
        fit=lambda passes, masks, *rest: seen.update(masks=masks.numpy()),
    )
    monkeypatch.setitem(HEADS, "ensemble", watched)
    config = tiny_config(fit={**KNOBS, "horizontal_flip": flip})
    fit(model, Labelled(images, masks, ("a", "b", "c"), classes), config)

    wanted = [(image, mask) for image, mask in zip(images, masks, strict=True)]
    if flip:
        swapped = np.choose(np.minimum(masks, 3), [0, 2, 1, IGNORE_ID]).astype(np.uint8)
        wanted += [(i[:, ::-1], m[:, ::-1]) for i, m in zip(images, swapped, strict=True)]
    pairs = zip(seen["images"], seen["masks"], strict=True)
    found = sorted((image.tobytes(), mask.tobytes()) for image, mask in pairs)
    assert found == sorted((image.tobytes(), mask.tobytes()) for image, mask in wanted)


def test_maps_do_not_hang_on_how_many_images_pass_at_once(
    model, training, tiny_config, monkeypatch
) -> None:
    learned = new_head_config(model, TOY, tiny_config())
    whole = image_maps(model, learned, training.images[:5])
    monkeypatch.setattr(fitting, "_PIXELS_PER_PASS", 2 * 16**2)
    for a, b in zip(whole, image_maps(model, learned, training.images[:5]), strict=True):
        assert a.shape == b.shape and len(a) == 5
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_blocks_and_timesteps_that_the_model_lacks_are_refused(model, tiny_config) -> None:
    config = tiny_config(fit={"timesteps": [100], "blocks": [1, 4]})
    with pytest.raises(UserError) as refused:
        new_head_config(model, TOY, config)
    blocks, timesteps = refused.value.problems
    assert blocks == "fit.blocks: 4: the model's blocks are middle, 0..3."
    assert "fit.timesteps: 100 is not below the model's 100 timesteps" in timesteps


def test_the_ensemble_tells_what_it_was_fitted_on(model, tiny_config) -> None:
    config = tiny_config(fit={**KNOBS, "seed": 5, "timesteps": [10, 40, 5]})
    learned = new_head_config(model, TOY, config)
    assert learned.ddpm_hash == model.model_hash and learned.image_size == 16
    assert learned.classes == TOY and learned.noise_seed == 5
    assert (learned.timesteps, learned.blocks) == ((10, 40, 5), (1, 2))
    assert learned.descriptor_dim == 3 * (32 + 16)
    assert (learned.num_members, learned.hidden) == (3, (32, 16))


def test_the_middle_block_is_read_where_it_is_named_and_called_by_its_word(
    model, tiny_config
) -> None:
    learned = new_head_config(model, TOY, tiny_config(fit={**KNOBS, "blocks": ["middle", 2]}))
    assert learned.blocks == (MIDDLE_BLOCK, 2) and learned.descriptor_dim == 2 * (32 + 16)
    assert learned.model_dump(mode="json")["blocks"] == ["middle", 2]
    assert EnsembleConfig.model_validate_json(learned.model_dump_json()) == learned


def test_progress_is_told_with_the_loss(model, training, tiny_config, told) -> None:
    fit_head(model, training, tiny_config(fit={**KNOBS, "num_steps": 3}))
    assert len(told) == 2 and "6,144 pixels of 24 images" in told[0]
    assert "step 3/3" in told[1] and "loss" in told[1]


def test_a_kind_of_head_that_is_not_there_is_refused_with_the_nearest(model, tiny_config) -> None:
    for name, remedy in (("ensembel", "Did you mean ensemble"), ("forest", "Known here: ensemble")):
        with pytest.raises(UserError, match=f"head: '{name}' is no kind of head. {remedy}"):
            new_head_config(model, TOY, tiny_config(fit={"head": name}))
