"""What the rest of the product asks of a network that predicts the noise.

Shapes: B batch, C channels, H height, W width.
"""

from collections.abc import Callable

import torch

EpsilonFn = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(x_t (B, C, H, W), t (B,)) -> epsilon (B, C, H, W)."""
