"""What a network predicts of a noisy image: the noise, epsilon, or v = alpha epsilon - sigma x_0.

v (Salimans and Ho 2022, appendix D) is close to the noise where there is little of it, and to the
image where there is much. Networks are trained for either; samplers reckon with epsilon alone.

Shapes: B batch, C channels, H height, W width.
"""

from collections.abc import Callable

import torch

from factory.config import PredictionType
from factory.diffusion.network import EpsilonFn
from factory.diffusion.schedule import Schedule, alpha_sigma

OutputFn = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(x_t (B, C, H, W), t (B,)) -> what the network predicts (B, C, H, W)."""


def target(
    kind: PredictionType,
    schedule: Schedule,
    x_0: torch.Tensor,
    t: torch.Tensor,
    epsilon: torch.Tensor,
) -> torch.Tensor:
    """What a network of this kind should predict of the image that x_0 becomes by epsilon at t."""
    if kind == "epsilon":
        return epsilon
    alpha, sigma = alpha_sigma(schedule, t, x_0.device)
    return alpha * epsilon - sigma * x_0


def epsilon_of(
    kind: PredictionType,
    schedule: Schedule,
    x_t: torch.Tensor,
    t: torch.Tensor,
    output: torch.Tensor,
) -> torch.Tensor:
    """The noise that an output of the network stands for: epsilon = alpha v + sigma x_t."""
    if kind == "epsilon":
        return output
    alpha, sigma = alpha_sigma(schedule, t, x_t.device)
    return alpha * output + sigma * x_t


def epsilon_fn(kind: PredictionType, schedule: Schedule, network: OutputFn) -> EpsilonFn:
    """The network as samplers call it."""
    return lambda x_t, t: epsilon_of(kind, schedule, x_t, t, network(x_t, t))
