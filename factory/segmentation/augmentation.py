"""Pairs as a training sees them: turned, zoomed, shifted, mirrored, in other light and colours.

Shapes: B batch, C channels, S image size.
"""

import math

import torch
import torch.nn.functional as F

from factory.classes import IGNORE_ID
from factory.config.segment import SegmentConfig
from factory.images import to_signed


def augmented(
    images: torch.Tensor, masks: torch.Tensor, mirrored_ids: torch.Tensor, settings: SegmentConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (B, C, S, S) in [-1, 1] and masks (B, S, S) int64, of uint8 ones of the same shapes.

    mirrored_ids: (256,) the id of each class in a mirrored image. What is drawn comes of torch's
    global generator. Pixels from outside of an image are ignored, 255.
    """
    x, y = to_signed(images), masks.long()
    if settings.horizontal_flip:
        flipped = torch.rand(len(x), device=x.device) < 0.5
        x = torch.where(flipped[:, None, None, None], x.flip(3), x)
        y = torch.where(flipped[:, None, None], mirrored_ids[y.flip(2)], y)
    if settings.max_zoom > 1 or settings.max_degrees > 0:
        x, y = _moved(x, y, settings)
    return _lit(x, settings.max_light), y


def _moved(
    x: torch.Tensor, y: torch.Tensor, settings: SegmentConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turned about the middle and zoomed, and shifted by no more than what a zoom leaves over."""
    num, kind = len(x), {"device": x.device}
    zoom = settings.max_zoom ** _within_one(num, **kind)
    angle = math.radians(settings.max_degrees) * _within_one(num, **kind)
    shift = _within_one(2 * num, **kind).view(num, 2) * (1 - 1 / zoom).abs()[:, None]
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    rows = [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
    # Ids are exact in float32; one more, so that what is outside is 0, and no class.
    ids = (y + 1).float()[:, None]
    taken = F.grid_sample(ids, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    labels = taken[:, 0].round().long() - 1
    return moved, torch.where(labels < 0, IGNORE_ID, labels)


def _lit(x: torch.Tensor, most: float) -> torch.Tensor:
    """In other light: brightness, contrast and, of colours, saturation, each by a factor of up to 1
    + most or 1 / (1 + most); values stay in [-1, 1]."""
    if most == 0:
        return x
    factors = ((1 + most) ** _within_one(3 * len(x), device=x.device)).view(3, len(x), 1, 1, 1)
    lit = (x + 1) * factors[0] - 1
    middle = lit.mean((1, 2, 3), keepdim=True)
    lit = middle + (lit - middle) * factors[1]
    grey = lit.mean(1, keepdim=True)
    return (grey + (lit - grey) * factors[2]).clamp(-1, 1)


def _within_one(num: int, device: torch.device) -> torch.Tensor:
    """Numbers drawn evenly from [-1, 1]."""
    return torch.rand(num, device=device) * 2 - 1
