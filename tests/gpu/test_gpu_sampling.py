"""Claims about stage 3 on a GPU, on one made of Python."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from factory.config import Config, DiffusionConfig
from factory.data.toy import drawing
from factory.diffusion.schedule import linear_schedule
from factory.generation import frozen_models
from factory.generation.recipe import load_models, make_plan
from factory.generation.synthesizer import Synthesizer
from factory.likeness.training_images import read_training_images, write_training_images
from factory.shards.plan import Plan
from factory.shards.schema import Sample
from tests.gpu.standin import StandIn

FEATURES = {"timesteps": (10, 40), "blocks": (1, 2)}
SETTINGS = [
    (sampler, source)
    for sampler in ("sde_dpm_solver", "unipc", "dpm_solver", "ddim")
    for source in ("renoise", "trajectory")
] + [("ddpm", "trajectory")]


Planned = tuple[Plan, Callable[..., Synthesizer]]


@pytest.fixture
def plan(
    tiny_config: Callable[..., Config],
) -> Callable[..., tuple[Plan, Callable[..., Synthesizer]]]:
    """A plan for a GPU, and what makes its samples, there or elsewhere."""

    def make(source: str = "auto", **generate: object):
        config = tiny_config(
            fit=FEATURES,
            generate={
                **{"num": 4, "compile": False, "gpus_per_actor": 1, "feature_source": source},
                **generate,
            },
        )
        planned = make_plan(config, load_models(config))

        def synthesizer(**recipe: object) -> Synthesizer:
            other = planned.model_copy(update={"recipe": {**planned.recipe, **recipe}})
            return Synthesizer(load_models(config), other)

        return planned, synthesizer

    return make


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "source"), SETTINGS)
def test_a_gpus_samples_are_those_of_a_cpu_but_for_rounding(
    sampler: str, source: str, plan, gpu: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sampler == "ddpm":
        # It makes them all.
        short = DiffusionConfig(num_timesteps=42, beta_start=1e-3, beta_end=0.4)
        monkeypatch.setattr(frozen_models, "linear_schedule", lambda config: linear_schedule(short))
    num = 2 if sampler == "ddpm" else 4
    planned, synthesizer = plan(source, sampler=sampler, num=num, samples_per_shard=num)
    spec = planned.shard(0)
    on_gpu = list(synthesizer().samples(spec))
    assert_alike(on_gpu, list(synthesizer(device="cpu").samples(spec)))


def assert_alike(some: Sequence[Sample], others: Sequence[Sample]) -> None:
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        assert np.abs(one.image.astype(int) - other.image).max() <= 1
        assert (one.mask == other.mask).mean() > 0.99
        assert one.uncertainty == pytest.approx(other.uncertainty, rel=0.01)


def test_the_nearest_training_images_are_those_that_a_cpu_finds(
    gpu: StandIn, tmp_path: Path
) -> None:
    images = [drawing.draw(5, index, 16)[0] for index in range(20)]
    write_training_images(str(tmp_path), images, 20)
    kept, x_0 = read_training_images(str(tmp_path)), torch.rand(4, 3, 16, 16) * 2 - 1
    assert kept is not None
    found = kept.nearest(x_0)
    on_gpu = kept.to(torch.device("cuda")).nearest(x_0.to("cuda"))
    assert on_gpu.indices.tolist() == found.indices.tolist()
    assert on_gpu.distances.tolist() == pytest.approx(found.distances.tolist(), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["sde_dpm_solver", "unipc", "dpm_solver", "ddim"])
def test_a_batch_waits_for_the_device_as_often_whatever_its_steps(
    sampler: str, plan, gpu: StandIn
) -> None:
    def waits(num_steps: int) -> int:
        planned, synthesizer = plan(sampler=sampler, num_sampling_steps=num_steps)
        made_by = synthesizer()
        gpu.waits.clear()
        list(made_by.samples(planned.shard(0)))
        return sum(gpu.waits.values())

    waits(4)  # Makes the tables that are kept.
    assert waits(4) == waits(7)


@pytest.mark.parametrize("source", ["renoise", "trajectory"])
def test_the_maps_of_a_batch_are_let_go_before_the_next(source: str, plan, gpu: StandIn) -> None:
    planned, synthesizer = plan(source, sampler="unipc", num=12, samples_per_shard=12)
    alive = [gpu.live_bytes() for _ in synthesizer().batches(planned.shard(0))]
    assert len(alive) == 6
    assert max(alive) <= 1.05 * alive[0], alive
