"""Claims about factory.generation.synthesizer: what one shard takes, without Ray."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from factory.config import Config, parse_config
from factory.data.toy.faces import CLASSES
from factory.diffusion import philox
from factory.diffusion.network import descriptor_dim
from factory.diffusion.noise import normal_noise, sample_seed
from factory.diffusion.prediction import epsilon_of
from factory.diffusion.schedule import linear_schedule
from factory.diffusion.timesteps import (
    high_noise_timesteps,
    log_snr_timesteps,
    uniform_timesteps,
)
from factory.errors import UserError
from factory.generation import drawing, frozen_models
from factory.generation.recipe import Models, load_models, make_plan
from factory.generation.synthesizer import Synthesizer
from factory.images import to_signed
from factory.labeling.ensemble import Ensemble, EnsembleConfig
from factory.labeling.features import renoised_maps, shared_noise
from factory.labeling.fitting import label_in_batches
from factory.shards.plan import Plan
from factory.shards.schema import Sample, sample_key
from factory.values import MIDDLE_BLOCK
from tests import tiny

Vote = Literal["soft", "hard"]

TIMESTEPS, BLOCKS, STEPS = (10, 40), (1, 2), 5


@pytest.fixture(scope="module")
def whole(tiny_models) -> Models:
    return load_models(parse_config({**tiny.TREE, "models": tiny_models}))


@pytest.fixture
def models(whole) -> Models:
    """A copy of its own, so that a test may break it."""
    return copy.deepcopy(whole)


@pytest.fixture
def plan(tiny_config, models) -> Callable[..., Plan]:
    """The plan of a config; keyword arguments are sections."""

    def make(**sections: object) -> Plan:
        return make_plan(tiny_config(**sections), models)

    return make


def made(models: Models, plan: Plan, shard: int = 0) -> list[Sample]:
    return list(Synthesizer(models, plan).samples(plan.shard(shard)))


def assert_same(one: Sequence[Sample], other: Sequence[Sample]) -> None:
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert (a.key, a.seed, a.uncertainty, a.model_id) == (
            b.key, b.seed, b.uncertainty, b.model_id
        )  # fmt: skip
        assert np.array_equal(a.image, b.image) and np.array_equal(a.mask, b.mask)


def differ(one: Sequence[Sample], other: Sequence[Sample]) -> bool:
    return any(not np.array_equal(a.image, b.image) for a, b in zip(one, other, strict=True))


def test_the_plan_tells_what_decides_the_bytes(models, plan) -> None:
    recipe = plan(generate={"seed": 3, "vote": "hard"}).recipe
    assert recipe["ddpm_sha256"] == models.ddpm.model_hash
    assert recipe["ensemble_sha256"] == models.ensemble_hash
    assert (recipe["seed"], recipe["vote"], recipe["device"]) == (3, "hard", "cpu")
    assert (recipe["image_size"], recipe["batch_size"]) == (16, 2)
    assert plan(generate={"batch_size": 64}).recipe["batch_size"] == 4  # a shard's samples
    planned = plan()
    assert planned.class_names == CLASSES
    assert Plan.model_validate_json(planned.model_dump_json()) == planned


@pytest.mark.parametrize("sampler", ["sde_dpm_solver", "unipc", "dpm_solver", "ddim"])
@pytest.mark.parametrize("steps", [3, 5, 20])
def test_the_grid_contains_the_feature_timesteps(plan, sampler: str, steps: int) -> None:
    grid = plan(generate={"sampler": sampler, "num_sampling_steps": steps}).recipe[
        "sampling_timesteps"
    ]
    assert set(TIMESTEPS) <= set(grid)
    assert len(set(grid)) == len(grid) == steps and grid == sorted(grid, reverse=True)
    assert grid[0] == 99 and grid[-1] >= 0


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["sde_dpm_solver", "unipc", "dpm_solver", "ddim", "ddpm"])
def test_clipping_is_the_models_and_part_of_the_plan(tiny_config, models, sampler: str) -> None:
    config = tiny_config(generate={"sampler": sampler})
    clipped = made(models, make_plan(config, models))
    free = replace(models, ddpm=replace(models.ddpm, clip=None))
    plan = make_plan(config, free)
    assert plan.recipe["clip"] is None and make_plan(config, models).recipe["clip"] == 1.0
    assert differ(clipped, made(free, plan))
    # A wide bound is never reached.
    wide = replace(models, ddpm=replace(models.ddpm, clip=1e6))
    assert_same(made(free, plan), made(wide, make_plan(config, wide)))


@pytest.mark.slow
def test_a_network_that_predicts_v_is_sampled_by_the_noise_that_v_stands_for(
    models, plan, monkeypatch
) -> None:
    of_v = models.ddpm.diffusion.model_copy(update={"prediction_type": "v_prediction"})
    of_epsilon, unet = made(models, plan()), models.ddpm.unet
    found = made(replace(models, ddpm=replace(models.ddpm, diffusion=of_v)), plan())
    assert differ(found, of_epsilon)
    whole, schedule = unet.outputs_and_features, linear_schedule(of_v)

    def converted(x_t, t, blocks):
        output, maps = whole(x_t, t, blocks)
        return epsilon_of("v_prediction", schedule, x_t, t, output), maps

    monkeypatch.setattr(unet, "outputs_and_features", converted)
    assert_same(found, made(models, plan()))


@pytest.mark.parametrize(
    ("sampler", "grid"),
    [
        ("sde_dpm_solver", high_noise_timesteps),
        ("ddim", uniform_timesteps),
        ("unipc", log_snr_timesteps),
        ("dpm_solver", log_snr_timesteps),
    ],
)
def test_each_sampler_walks_its_own_grid(plan, models, sampler, grid) -> None:
    expected = grid(linear_schedule(models.ddpm.diffusion), 20, TIMESTEPS)
    planned = plan(generate={"sampler": sampler, "num_sampling_steps": 20})
    assert planned.recipe["sampling_timesteps"] == list(expected)


@pytest.mark.parametrize(
    "section",
    [
        {"generate": {"seed": 1}},
        {"generate": {"sampler": "dpm_solver"}},
        {"generate": {"sampler": "ddim"}},
        {"generate": {"num_sampling_steps": 6}},
        {"generate": {"batch_size": 4}},
        {"generate": {"precision": "bf16"}},
        {"generate": {"feature_source": "trajectory"}},
        {"generate": {"vote": "hard"}},
    ],
    ids=str,
)
def test_whatever_changes_the_bytes_changes_the_plan(plan, section: dict) -> None:
    assert plan(**section).run_id != plan().run_id


@pytest.mark.parametrize(
    ("kind", "sampler", "source"),
    [("epsilon", "sde_dpm_solver", "renoise"), ("v_prediction", "dpm_solver", "trajectory")],
)
def test_left_to_itself_the_sampler_follows_what_the_ddpm_predicts(
    models, tiny_config, kind: str, sampler: str, source: str
) -> None:
    diffusion = models.ddpm.diffusion.model_copy(update={"prediction_type": kind})
    of_kind = replace(models, ddpm=replace(models.ddpm, diffusion=diffusion))
    recipe = make_plan(tiny_config(), of_kind).recipe
    assert (recipe["sampler"], recipe["feature_source"]) == (sampler, source)


def test_eta_belongs_to_the_plan_of_the_sampler_that_has_one(plan) -> None:
    ids = {
        sampler: {plan(generate={"sampler": sampler, "eta": eta}).run_id for eta in (0.5, 1.0)}
        for sampler in ("ddim", "sde_dpm_solver")
    }
    assert (len(ids["ddim"]), len(ids["sde_dpm_solver"])) == (2, 1)


@pytest.mark.parametrize(
    ("sampler", "source"),
    [
        ("unipc", "trajectory"),
        ("dpm_solver", "trajectory"),
        ("sde_dpm_solver", "renoise"),
        ("ddim", "renoise"),
        ("ddpm", "renoise"),
    ],
)
def test_the_source_of_features_is_chosen_by_the_sampler(plan, sampler: str, source: str) -> None:
    chosen = plan(generate={"sampler": sampler}).recipe["feature_source"]
    other = {"trajectory": "renoise", "renoise": "trajectory"}[source]
    settings = {"sampler": sampler, "feature_source": other}
    asked = plan(generate=settings).recipe["feature_source"]
    assert (chosen, asked) == (source, other)


def test_what_is_left_to_the_factory_is_chosen_once_and_told_in_the_plan(plan) -> None:
    left = {"batch_size": "auto", "precision": "auto", "samples_per_shard": 1000, "num": 1000}
    on_cpu = plan(generate=left).recipe
    assert (on_cpu["device"], on_cpu["compiled"]) == ("cpu", False)
    assert on_cpu["batch_size"] == 2**17 // 16**2
    assert on_cpu["precision"] in ("bf16", "fp32")
    on_gpu = plan(generate={**left, "gpus_per_actor": 1}).recipe
    assert (on_gpu["device"], on_gpu["precision"], on_gpu["compiled"]) == ("cuda", "bf16", True)
    assert on_gpu["batch_size"] == 1000  # a shard's samples
    plain = plan(generate={**left, "gpus_per_actor": 1, "compile": False}).recipe
    assert not plain["compiled"]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["renoise", "trajectory"])
def test_all_of_a_compiled_plan_is_compiled_before_its_first_shard(
    source: str, models, plan, monkeypatch
) -> None:
    graphs: list[object] = []

    def counted(graph, inputs):
        graphs.append(graph)
        return graph.forward

    original = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda f, options, **how: original(f, backend=counted, **how)
    )
    monkeypatch.setattr(frozen_models, "_memory_format", lambda *arguments: torch.channels_last)
    torch.compiler.reset()
    planned = one_batch(plan, source, num=4, samples_per_shard=4, batch_size=2)
    planned.recipe["noise"] = philox.NAME
    plain = made(models, planned)
    planned.recipe["compiled"] = True
    synthesizer = Synthesizer(models, planned)
    # The network; with its maps, or up to the last of them; and what draws the noise.
    assert len(graphs) == 3
    assert_same(list(synthesizer.samples(planned.shard(0))), plain)
    for sampler, eta in (("unipc", None), ("dpm_solver", None), ("ddim", 0.5), ("ddpm", None)):
        update = {"sampler": sampler, "eta": eta}
        synthesizer.recipe = synthesizer.recipe.model_copy(update=update)
        assert len(list(synthesizer.samples(planned.shard(0)))) == 4
    assert len(graphs) == 3


def test_a_plan_of_bf16_is_refused_by_a_gpu_that_is_not_made_for_it(
    models, plan, monkeypatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    planned = plan(generate={"gpus_per_actor": 1, "precision": "bf16"})
    with pytest.raises(UserError, match=r"Tesla T4 has no .*another --out.*precision=fp32"):
        Synthesizer(models, planned)


@pytest.mark.parametrize(("here", "made_for_it", "chosen"), [
    (False, False, "bf16"), (True, True, "bf16"), (True, False, "fp32"),
])  # fmt: skip
def test_a_plan_for_the_gpu_at_hand_is_in_a_precision_that_it_is_made_for(
    here: bool, made_for_it: bool, chosen: str, plan, monkeypatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: here)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: made_for_it)
    planned = plan(generate={"gpus_per_actor": 1, "precision": "auto"})
    assert planned.recipe["precision"] == chosen


def test_the_plan_names_who_draws_the_noise(plan) -> None:
    assert plan().recipe["noise"] == "numpy's philox, ziggurat"
    assert plan(generate={"gpus_per_actor": 1}).recipe["noise"] == "philox4x32-10, box-muller"


def test_what_does_not_change_the_bytes_does_not_change_the_plan(plan) -> None:
    generate = {"max_actors": 7, "cpus_per_actor": 0.5, "progress_seconds": 9}
    assert plan(generate=generate).run_id == plan().run_id


def test_too_few_sampling_steps_are_refused(plan) -> None:
    with pytest.raises(UserError, match=r"num_sampling_steps: 2 must be more than 2"):
        plan(generate={"num_sampling_steps": 2})


def test_more_sampling_steps_than_the_model_has_are_refused(plan) -> None:
    with pytest.raises(UserError, match=r"num_sampling_steps: 101 must be .* at most 100"):
        plan(generate={"num_sampling_steps": 101})


def test_samples_are_whole_and_in_range(models, plan) -> None:
    planned = plan(generate={"seed": 8})
    samples = made(models, planned, 1)
    assert [sample.key for sample in samples] == [sample_key(i) for i in range(4, 8)]
    assert [sample.seed for sample in samples] == [sample_seed(8, i) for i in range(4, 8)]
    for sample in samples:
        assert sample.image.shape == (16, 16, 3) and sample.image.dtype == np.uint8
        assert sample.mask.shape == (16, 16) and sample.mask.dtype == np.uint8
        assert int(sample.mask.max()) < len(CLASSES)
        assert 0 < sample.uncertainty <= np.log(len(CLASSES))
        assert sample.model_id == models.model_id and len(sample.model_id) == 12
    assert len({sample.image.tobytes() for sample in samples}) == 4
    assert np.unique([sample.mask for sample in samples]).size > 1
    assert next(planned.iterate(planned.encode(samples))).key == samples[0].key


@pytest.mark.slow
def test_a_shard_is_the_same_made_alone_or_after_others(models, plan) -> None:
    planned = plan()
    worker = Synthesizer(models, planned)
    in_order = [list(worker.samples(planned.shard(i))) for i in (0, 3, 1)]
    assert_same(made(models, planned, 1), in_order[2])
    assert_same(made(models, planned, 3), in_order[1])
    assert differ(in_order[0], in_order[2])


def test_a_short_last_shard_holds_what_a_longer_dataset_holds_there(models, plan) -> None:
    short, long = (plan(generate={"num": num, "batch_size": 4}) for num in (7, 8))
    assert short.shard(1).stop == 7 and short.recipe == long.recipe
    assert_same(made(models, short, 1), made(models, long, 1)[:3])


@pytest.mark.slow
def test_every_batch_has_the_plans_shape_and_is_given_by_itself(models, plan, monkeypatch) -> None:
    planned = plan(generate={"num": 7})
    sizes, unet = set(), models.ddpm.unet
    whole = unet.outputs_and_features

    def counted(x_t, t, blocks):
        sizes.add(len(x_t))
        return whole(x_t, t, blocks)

    monkeypatch.setattr(unet, "outputs_and_features", counted)
    batches = list(Synthesizer(models, planned).batches(planned.shard(1)))
    assert [len(batch.samples) for batch in batches] == [2, 1] and sizes == {2}


def test_another_seed_makes_other_images(models, plan) -> None:
    one, other = (made(models, plan(generate={"seed": seed})) for seed in (0, 1))
    assert differ(one, other)
    assert {sample.seed for sample in one}.isdisjoint(sample.seed for sample in other)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampler, source, vote",
    [
        ("unipc", "renoise", "soft"),
        ("unipc", "trajectory", "soft"),
        ("sde_dpm_solver", "renoise", "soft"),
        ("dpm_solver", "renoise", "soft"),
        ("dpm_solver", "trajectory", "hard"),
        ("ddim", "renoise", "hard"),
        ("ddim", "trajectory", "soft"),
        ("ddpm", "trajectory", "soft"),
    ],
)
def test_every_sampler_source_and_vote_makes_the_same_pairs_again(
    models, plan, sampler: str, source: str, vote: str
) -> None:
    planned = plan(
        generate={
            **{"sampler": sampler, "feature_source": source, "vote": vote},
            **{"num": 1, "samples_per_shard": 1},
        }
    )
    samples = made(models, planned)
    assert len(samples) == 1 and np.isfinite(samples[0].uncertainty)
    assert samples[0].image.std() > 0
    assert_same(samples, made(models, planned))


def recorded(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, torch.Tensor, int]]:
    """Every pass of the network from now on: its kind, x_t and first timestep."""
    calls: list[tuple[str, torch.Tensor, int]] = []
    unet = models.ddpm.unet
    for kind in ("features", "outputs_and_features"):
        whole = getattr(unet, kind)

        def counted(x_t, t, blocks, kind=kind, whole=whole):
            calls.append((kind, x_t.clone(), int(t[0])))
            return whole(x_t, t, blocks)

        monkeypatch.setattr(unet, kind, counted)
    return calls


def one_batch(
    plan: Callable[..., Plan], source: str, vote: str = "soft", **generate: object
) -> Plan:
    settings = {"feature_source": source, "vote": vote, **generate}
    return plan(generate={"num": 2, "samples_per_shard": 2, **settings})


def reading(models: Models, blocks: tuple[int, ...]) -> Models:
    """The models with an ensemble, of random weights, on these blocks."""
    dim = descriptor_dim(models.ddpm.unet, TIMESTEPS, blocks)
    update = {"blocks": blocks, "descriptor_dim": dim}
    torch.manual_seed(0)
    config = models.ensemble.config
    assert isinstance(config, EnsembleConfig)
    ensemble = Ensemble(config.model_copy(update=update)).eval().requires_grad_(False)
    return replace(models, ensemble=ensemble)


each_blocks = pytest.mark.parametrize("blocks", [BLOCKS, (MIDDLE_BLOCK, 2), (MIDDLE_BLOCK,)])


@each_blocks
@pytest.mark.parametrize("vote", ["soft", "hard"])
def test_renoised_features_are_those_of_the_stored_image(
    models, plan, monkeypatch, vote: Vote, blocks: tuple[int, ...]
) -> None:
    planned, models = one_batch(plan, "renoise", vote), reading(models, blocks)
    calls = recorded(models, monkeypatch)
    samples = made(models, planned)
    kinds = ["outputs_and_features"] * STEPS + ["features"] * len(TIMESTEPS)
    assert [kind for kind, _, _ in calls] == kinds
    assert tuple((len(x_t), t) for _, x_t, t in calls[STEPS:]) == tuple((2, t) for t in TIMESTEPS)

    pixels = torch.from_numpy(np.stack([sample.image for sample in samples]))
    maps = renoised_maps(
        models.ddpm.unet.features,
        linear_schedule(models.ddpm.diffusion),
        to_signed(pixels.permute(0, 3, 1, 2)),
        shared_noise(0, 16),
        TIMESTEPS,
        blocks,
    )
    assert_labels(samples, models, maps, vote)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("source", ["renoise", "trajectory"])
def test_every_pass_of_the_network_is_in_the_plans_precision(
    models, plan, monkeypatch, source: str, precision: str
) -> None:
    seen: list[torch.dtype] = []
    models.ddpm.unet.conv_in.register_forward_hook(lambda *call: seen.append(call[-1].dtype))
    made(models, one_batch(plan, source, precision=precision))
    assert len(seen) == STEPS + (len(TIMESTEPS) if source == "renoise" else 0)
    assert set(seen) == {torch.bfloat16 if precision == "bf16" else torch.float32}


@each_blocks
def test_trajectory_features_are_read_in_passing_without_extra_passes(
    models, plan, monkeypatch, blocks: tuple[int, ...]
) -> None:
    planned, models = one_batch(plan, "trajectory"), reading(models, blocks)
    calls = recorded(models, monkeypatch)
    samples = made(models, planned)
    assert [t for _, _, t in calls] == planned.recipe["sampling_timesteps"]
    assert {kind for kind, _, _ in calls} == {"outputs_and_features"}

    passed = {t: x_t for _, x_t, t in calls}
    maps = []
    for timestep in TIMESTEPS:
        t = torch.full((2,), timestep)
        features = models.ddpm.unet.features(passed[timestep], t, blocks)
        maps += [features[block] for block in blocks]
    assert_labels(samples, models, maps)


@pytest.mark.parametrize("source", ["renoise", "trajectory"])
def test_members_vote_on_the_mirrored_stored_image_where_the_ensemble_says_so(
    models, plan, source: str
) -> None:
    planned = one_batch(plan, source)
    without = made(models, planned)
    models.ensemble.config = models.ensemble.config.model_copy(update={"mirrored": True})
    samples = made(models, planned)
    assert not differ(samples, without)
    assert all(a.uncertainty != b.uncertainty for a, b in zip(samples, without, strict=True))
    if source == "renoise":
        pixels = np.stack([sample.image for sample in samples])
        (labels,) = label_in_batches(models.ddpm, models.ensemble, pixels, 2)
        assert (np.stack([s.mask for s in samples]) == labels.soft.numpy()).mean() > 0.998
        wanted = labels.image_uncertainty().tolist()
        assert [s.uncertainty for s in samples] == pytest.approx(wanted, rel=1e-3)


def assert_labels(
    samples: list[Sample], models: Models, maps: list[torch.Tensor], vote: Vote = "soft"
) -> None:
    labels = models.ensemble.label(maps, 16)
    assert not torch.equal(labels.soft, labels.hard)
    masks = np.stack([sample.mask for sample in samples])
    assert (masks == labels.masks(vote).numpy()).mean() > 0.998
    wanted = labels.image_uncertainty().tolist()
    assert [sample.uncertainty for sample in samples] == pytest.approx(wanted, rel=1e-3)


def test_the_source_of_the_features_leaves_the_images_alone(models, plan) -> None:
    renoised, tapped = (made(models, one_batch(plan, s)) for s in ("renoise", "trajectory"))
    assert not differ(renoised, tapped)
    assert [s.uncertainty for s in renoised] != [s.uncertainty for s in tapped]


def test_bf16_stays_close_to_fp32(models, plan) -> None:
    full, half = (
        made(models, one_batch(plan, "trajectory", precision=precision))
        for precision in ("fp32", "bf16")
    )
    gaps = [np.abs(a.image.astype(int) - b.image).mean() for a, b in zip(full, half, strict=True)]
    assert 0 < max(gaps) < 8


def test_broken_weights_raise_instead_of_writing_rubbish(models, plan) -> None:
    with torch.no_grad():
        models.ddpm.unet.conv_out.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(
        FloatingPointError, match="sample 000000000 is not finite, nor were 3 other"
    ):
        made(models, plan())


def test_a_broken_ensemble_raises_too(models, plan) -> None:
    with torch.no_grad():
        models.ensemble.bias_3[0, 0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="is not finite"):
        made(models, plan())


def spoil(monkeypatch, seeds: set[int]) -> None:
    """What begins with the noise of these seeds is not finite."""
    original = normal_noise

    def noise(asked: Sequence[int], shape: Sequence[int], stream: int) -> torch.Tensor:
        drawn = original(asked, shape, stream)
        for row, seed in zip(drawn, asked, strict=True):
            if stream == 0 and seed in seeds:
                row[0, 0, 0] = float("nan")
        return drawn

    monkeypatch.setattr(drawing, "normal_noise", noise)


@pytest.mark.slow
def test_a_sample_that_is_not_finite_is_drawn_again_by_rule(models, plan, monkeypatch) -> None:
    planned = plan(generate={"num": 5, "samples_per_shard": 5, "batch_size": 3, "seed": 9})
    whole = made(models, planned)
    spoil(monkeypatch, {sample_seed(9, 1), sample_seed(9, 1, retry=1), sample_seed(9, 3)})
    batches = list(Synthesizer(models, planned).batches(planned.shard(0)))
    assert [(len(batch.samples), batch.num_redrawn) for batch in batches] == [(3, 2), (2, 1)]
    mended = [sample for batch in batches for sample in batch.samples]
    assert (mended[1].seed, mended[3].seed) == (sample_seed(9, 1, 2), sample_seed(9, 3, 1))
    assert all(np.isfinite(sample.uncertainty) for sample in mended)
    assert_same([mended[i] for i in (0, 2, 4)], [whole[i] for i in (0, 2, 4)])
    assert [sample.key for sample in mended] == [sample.key for sample in whole]


def test_what_only_fills_the_last_batch_is_never_drawn_again(models, plan, monkeypatch) -> None:
    planned = plan(generate={"num": 5, "samples_per_shard": 5, "batch_size": 3, "seed": 9})
    spoil(monkeypatch, {sample_seed(9, 5)})
    batches = Synthesizer(models, planned).batches(planned.shard(0))
    assert [batch.num_redrawn for batch in batches] == [0, 0]


def test_the_model_id_tells_both_models_apart(models) -> None:
    assert Models(models.ddpm, models.ensemble, "0" * 64).model_id != models.model_id


def test_an_ensemble_that_is_not_there_is_refused(tiny_config, tiny_models, tmp_path) -> None:
    config: Config = tiny_config(
        models={"ddpm_url": tiny_models["ddpm_url"], "ensemble_url": str(tmp_path / "no")}
    )
    with pytest.raises(UserError, match="no ensemble"):
        load_models(config)


def test_a_plan_of_too_many_shards_is_refused(plan) -> None:
    with pytest.raises(
        UserError, match=r"generate\.samples_per_shard: 1 makes more than 1,000,000"
    ):
        plan(generate={"num": 1_000_001, "samples_per_shard": 1})
