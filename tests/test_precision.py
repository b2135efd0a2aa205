"""Claims about factory.precision, and about all that runs a network."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from factory.config import Config
from factory.diffusion.schedule import linear_schedule
from factory.diffusion.train_state import new_state
from factory.diffusion.train_step import train_step
from factory.generation.recipe import Models, load_models, make_plan
from factory.generation.synthesizer import Synthesizer
from factory.labeling.fitting import image_maps
from factory.precision import autocast, in_bf16, products_in_tf32

Run = Callable[[Config, Models], object]


@pytest.fixture(autouse=True)
def _as_torch_comes() -> Iterator[None]:
    """A GPU's convolutions of float32 are rounded to TF32, products of matrices are not."""
    flags: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
    before = [flag.allow_tf32 for flag in flags]
    for flag, value in zip(flags, (True, False), strict=True):
        flag.allow_tf32 = value
    yield
    for flag, value in zip(flags, before, strict=True):
        flag.allow_tf32 = value


def generates(config: Config, models: Models) -> object:
    plan = make_plan(config, models)
    return list(Synthesizer(models, plan).samples(plan.shard(0)))


def reads_features(config: Config, models: Models) -> object:
    return image_maps(models.ddpm, models.ensemble.config, np.zeros((1, 16, 16, 3), np.uint8))


def trains(config: Config, models: Models) -> object:
    state = new_state(config, torch.device("cpu"))
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    return train_step(
        state, state.unet, linear_schedule(config.train.diffusion), images, config.train
    )


@pytest.mark.parametrize("run", [generates, reads_features, trains])
def test_float32_is_float32_on_a_gpu_wherever_a_network_runs(
    run: Run, tiny_config: Callable[..., Config]
) -> None:
    config = tiny_config(generate={"num": 1, "samples_per_shard": 1}, train={"precision": "fp32"})
    run(config, load_models(config))
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


class Products(TorchDispatchMode):
    """Notes whether TF32 is allowed in each product of matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.in_tf32: list[bool] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "mm" in func._schema.name:
            self.in_tf32.append(torch.backends.cuda.matmul.allow_tf32)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@torch.no_grad()
def test_labels_may_take_tf32_where_the_maps_are_exact_in_it(
    dtype: torch.dtype, tiny_config: Callable[..., Config]
) -> None:
    models, products = load_models(tiny_config()), Products()
    maps = [
        m.to(dtype) for m in image_maps(
            models.ddpm, models.ensemble.config, np.zeros((1, 16, 16, 3), np.uint8)
        )
    ]  # fmt: skip
    with products:
        models.ensemble.label(maps, 16)
    # The maps' products alone, not those of hidden units, which come after them.
    assert sum(products.in_tf32) == (len(maps) if dtype is torch.bfloat16 else 0)
    assert not any(products.in_tf32[-2:])
    assert not torch.backends.cuda.matmul.allow_tf32


def test_products_in_tf32_end_with_their_block() -> None:
    with products_in_tf32(True):
        assert torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(
    ("precision", "here", "made_for_it", "bf16"),
    [
        ("auto", True, True, True),
        ("auto", True, False, False),
        ("auto", False, False, True),
        ("bf16", True, False, True),
        ("fp32", True, True, False),
    ],
)
def test_left_to_itself_a_gpu_computes_in_bf16_where_it_is_made_for_it(
    precision: str, here: bool, made_for_it: bool, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def supported(including_emulation: bool) -> bool:
        return made_for_it or including_emulation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: here)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert in_bf16(precision, "cuda") == bf16


def test_networks_run_in_bf16_where_asked() -> None:
    product = torch.ones(2, 2)
    for bf16, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        with autocast(bf16, "cpu"):
            assert (product @ product).dtype == dtype
