"""A compact U-Net that labels every pixel (Ronneberger et al. 2015), of torch's layers alone.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

_GROUPS = 8
"""Groups of channels that are normalised together; widths are divisible by it."""


class UNet(nn.Module):
    """Images (B, C, H, W) in [-1, 1] to logits (B, K, H, W), for any H and W.

    Each level below the first has half the resolution. Normalised by groups of channels, so that
    what it computes of an image depends on no other image, in training neither.
    """

    def __init__(self, num_channels: int, num_classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.first = _Block(num_channels, widths[0])
        self.down = nn.ModuleList(_Block(above, below) for above, below in pairwise(widths))
        self.up = nn.ModuleList(_Block(below + above, above) for above, below in pairwise(widths))
        self.last = nn.Conv2d(widths[0], num_classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of the images."""
        maps = [self.first(images)]
        for block in self.down:
            maps.append(block(F.max_pool2d(maps[-1], 2, ceil_mode=True)))
        x = maps.pop()
        for block in reversed(self.up):
            beside = maps.pop()
            size = [beside.shape[2], beside.shape[3]]
            x = F.interpolate(x, size, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, beside], 1))
        logits: torch.Tensor = self.last(x)
        return logits


class _Block(nn.Module):
    """Two convolutions, each normalised, around which the input is added."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(num_in, num_out, 3, padding=1, bias=False)
        self.norm_1 = nn.GroupNorm(_GROUPS, num_out)
        self.conv_2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.norm_2 = nn.GroupNorm(_GROUPS, num_out)
        self.beside = nn.Conv2d(num_in, num_out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The maps of the next level, (B, num_out, H, W)."""
        h = F.silu(self.norm_1(self.conv_1(x)))
        h = self.norm_2(self.conv_2(h))
        return F.silu(h + self.beside(x))
