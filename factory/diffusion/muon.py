"""Muon: momentum whose matrices are made orthogonal before they move the weights.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks", with the step lengths
of Liu et al. 2025, "Muon is scalable for LLM training", equation 4: they make a learning rate mean
what it means for Adam. A convolution's kernel (out, in, height, width) is a matrix of out rows.

`torch.optim.Muon` takes matrices alone, and always multiplies them in bfloat16: on a processor
without instructions for it, that takes 16 times as long as float32 does
(docs/measurements/results.md).
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Those of the polynomial that each iteration takes of the singular values, which all come near 1:
Jordan et al. 2024, chosen for the steepest rise from 0."""
_NUM_ITERATIONS = 5
_STEP_OF_ADAM = 0.2
"""The root mean square of the steps that Adam makes, in learning rates."""


class Muon(torch.optim.Optimizer):
    """The optimiser of weights of two dimensions or more; their moments have the weights' shapes
    and memory formats."""

    def __init__(
        self,
        weights: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float,
        *,
        bf16: bool,
        momentum: float = 0.95,
    ) -> None:
        """bf16: matrices are multiplied in bfloat16, which is as good and faster where a processor
        is made for it."""
        defaults: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(weights, defaults)
        self._dtype = torch.bfloat16 if bf16 else torch.float32

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Moves each weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group)

    def _move(self, weight: nn.Parameter, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        momentum = state["momentum"]
        momentum.lerp_(gradient, 1 - group["momentum"])
        # Nesterov's: the gradient as the momentum will have it after one step more.
        direction = orthogonal(gradient.lerp(momentum, group["momentum"]).flatten(1), self._dtype)
        length = group["lr"] * _STEP_OF_ADAM * math.sqrt(max(direction.shape))
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(direction.to(weight.dtype).view(weight.shape), alpha=-length)


def orthogonal(matrix: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """About the nearest matrix (R, C) with orthogonal rows or columns, by Newton-Schulz iterations;
    its singular values come between 0.5 and 1.2, but for those that are next to none."""
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if is_tall else matrix).to(dtype)
    x = x / x.norm().clamp_min(1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_NUM_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if is_tall else x
