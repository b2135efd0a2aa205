"""Claims about the third-order solvers of benchmarks/, with diffusers' as the reference."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch

from factory.diffusion.network import EpsilonFn
from factory.diffusion.schedule import linear_schedule
from factory.diffusion.timesteps import log_snr_timesteps
from tests.diffusion.multistep import SHAPE, SHORT, perfect, solved_by_diffusers

SOLVERS = {"3M": "dpm_solver_3m", "UniPC-3": "unipc_3"}
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
both = pytest.mark.parametrize("solver", SOLVERS)


@pytest.fixture
def third_order(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("third_order")


# diffusers makes a numpy array of a torch tensor in the way of numpy 1.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("num_steps", [2, 3, 8, 13])
@both
@torch.inference_mode()
def test_third_order_solvers_equal_diffusers(
    solver: str,
    num_steps: int,
    diffusers: ModuleType,
    third_order: ModuleType,
    network: EpsilonFn,
    x_T: torch.Tensor,
) -> None:
    schedule = linear_schedule(SHORT)
    timesteps = log_snr_timesteps(schedule, num_steps)
    theirs = solved_by_diffusers(diffusers, solver, network, schedule, x_T, timesteps)
    ours = getattr(third_order, SOLVERS[solver])(network, schedule, x_T, timesteps)
    torch.testing.assert_close(ours, theirs, atol=5e-5, rtol=0)


@both
def test_a_perfect_denoiser_recovers_the_image_at_third_order(
    solver: str, third_order: ModuleType, x_T: torch.Tensor
) -> None:
    schedule = linear_schedule(SHORT)
    x_0 = torch.rand(SHAPE, generator=torch.Generator().manual_seed(5)) * 2 - 1
    sample = getattr(third_order, SOLVERS[solver])
    for timesteps in ((59, 0), (59, 30, 10), tuple(range(59, -1, -1))):
        sampled = sample(perfect(schedule, x_0), schedule, x_T, timesteps)
        torch.testing.assert_close(sampled, x_0, atol=1e-4, rtol=0)
