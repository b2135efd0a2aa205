"""Claims about stage 2 on a GPU, on one made of Python."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from factory.config import Config
from factory.data.loading import read_labelled
from factory.errors import UserError
from factory.generation.recipe import load_models
from factory.labeling import commands, evaluation, fitting
from factory.labeling.evaluation import Evaluation
from factory.labeling.heads import load_head
from factory.segmenter import Segmenter
from tests.gpu.standin import CUDA, StandIn

DATA = {
    "image_size": 16,
    "labelled": {"kind": "toy", "num": 3, "seed": 2},
    "test": {"kind": "toy", "num": 3, "seed": 3},
}
FIT = {"num_members": 3, "hidden": [8, 4], "num_steps": 4, "pixels_per_step": 64}


@pytest.fixture
def config(tiny_config: Callable[..., Config], tiny_models: dict[str, str], tmp_path: Path):
    """Tiny models on a few drawings; the ensemble that is fitted goes to a folder of its own."""
    models = {**tiny_models, "ensemble_url": str(tmp_path / "ensemble")}
    return tiny_config(
        data=DATA,
        models=models,
        fit={**FIT, "precision": "fp32"},
        evaluate={"url": str(tmp_path / "evaluation"), "num_pictures": 2, "batch_size": 2},
    )


def test_fit_uses_the_gpu_and_learns_what_a_cpu_learns(config: Config, gpu: StandIn) -> None:
    commands.fit(config)
    assert gpu.peak_bytes > 0
    model = commands.load_ddpm(config)
    on_gpu, _ = load_head(config.models.ensemble_url, model.model_hash)
    labelled = read_labelled(config.data.labelled, 16)
    on_cpu = fitting.fit_head(model, labelled, config)
    # Not the weights themselves: of those whose gradient is nothing but rounding, as of a bias that
    # a normalisation takes away again, Adam makes whole steps.
    model.unet.to("cpu")
    found = [evaluation.evaluate(model, head, labelled, config) for head in (on_gpu, on_cpu)]
    gap = np.abs(found[0].soft.confusion - found[1].soft.confusion).sum()
    assert gap <= 0.01 * found[1].soft.confusion.sum()


def test_no_step_of_a_fit_waits_for_the_device(config: Config, gpu: StandIn) -> None:
    def waits(num_steps: int) -> int:
        model = commands.load_ddpm(config)
        model.unet.to(CUDA)
        settings = config.fit.model_copy(update={"num_steps": num_steps})
        labelled = read_labelled(config.data.labelled, 16)
        gpu.waits.clear()
        changed = config.model_copy(update={"ensemble": settings})
        fitting.fit_head(model, labelled, changed)
        return sum(gpu.waits.values())

    waits(1)  # Makes the tables that are kept.
    assert waits(2) == waits(6)


def test_evaluate_uses_the_gpu_and_says_what_a_cpu_says(
    config: Config, tiny_models: dict[str, str], gpu: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config.model_copy(update={"models": config.models.model_copy(update=tiny_models)})
    found: list[Evaluation] = []
    original = evaluation.evaluate
    monkeypatch.setattr(
        evaluation, "evaluate", lambda *arguments: found.append(original(*arguments)) or found[0]
    )
    commands.evaluate(config)
    assert gpu.peak_bytes > 0
    models = load_models(config)
    on_cpu = original(models.ddpm, models.ensemble, read_labelled(config.data.test, 16), config)
    gap = np.abs(found[0].soft.confusion - on_cpu.soft.confusion).sum()
    assert gap <= 0.005 * on_cpu.soft.confusion.sum()


def test_a_segmenter_labels_on_the_gpu_wherever_its_models_were(
    config: Config, tiny_models: dict[str, str], gpu: StandIn
) -> None:
    config = config.model_copy(update={"models": config.models.model_copy(update=tiny_models)})
    models = load_models(config)
    segmenter = Segmenter(models.ddpm, models.ensemble)
    test = read_labelled(config.data.test, 16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "available_device", lambda: torch.device("cpu"))
        on_cpu = segmenter.segment(test.images)
    # As after fitting on the GPU.
    segmenter.ddpm.unet.to(CUDA)
    on_gpu = segmenter.segment(test.images)
    assert (on_gpu.masks == on_cpu.masks).mean() > 0.99
    assert segmenter.evaluate(test).soft.pixel_accuracy == (on_gpu.masks == test.masks).mean()


def test_members_vote_on_mirrored_images_on_the_gpu_as_on_a_cpu(
    config: Config, tiny_models: dict[str, str], gpu: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config.model_copy(update={"models": config.models.model_copy(update=tiny_models)})
    models = load_models(config)
    told = models.ensemble.config.model_copy(update={"mirrored": True})
    monkeypatch.setattr(models.ensemble, "config", told)
    images = read_labelled(config.data.test, 16).images
    (on_cpu,) = fitting.label_in_batches(models.ddpm, models.ensemble, images, len(images))
    models.ddpm.unet.to(CUDA)
    (on_gpu,) = fitting.label_in_batches(models.ddpm, models.ensemble.to(CUDA), images, len(images))
    assert (on_gpu.soft.cpu() == on_cpu.soft).double().mean() > 0.99


def test_a_gpu_that_torch_cannot_use_is_left_aside_and_told(
    config: Config,
    gpu: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def too_old(*arguments: object, **how: object) -> None:
        raise RuntimeError("CUDA error: no kernel image is available\nCompile with ...")

    monkeypatch.setattr(torch, "zeros", too_old)
    assert commands.available_device() == torch.device("cpu")
    output = capsys.readouterr().out
    assert output == "warning: the GPU is left aside: CUDA error: no kernel image is available\n"


@pytest.mark.parametrize(
    ("command", "key"),
    [(commands.fit, "fit.pool_gib"), (commands.evaluate, "evaluate.batch_size")],
)
def test_too_little_memory_of_a_gpu_is_told_with_what_to_lower(
    config: Config,
    tiny_models: dict[str, str],
    command: Callable[[Config], object],
    key: str,
    gpu: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(commands, "fit_head", full)
    monkeypatch.setattr(evaluation, "evaluate", full)
    if command is commands.evaluate:
        config = config.model_copy(update={"models": config.models.model_copy(update=tiny_models)})
    with pytest.raises(UserError, match=rf"too little memory.*{key}.*CUDA_VISIBLE_DEVICES"):
        command(config)
