"""How far masks are expected to overlap with the true ones, by the votes on their pixels.

Where the members' mean probability of a class is 0.7, seven tenths of the pixel are expected to be
of that class. Such parts are counted in whole numbers, whose sums are the same in any order: on any
number of threads, and on a GPU.

Shapes: B images, P pixels each, C classes.
"""

from collections.abc import Sequence

import torch

PARTS = 2**20
"""The parts that a pixel has."""


def expected_overlaps(
    probabilities: torch.Tensor, masks: Sequence[torch.Tensor], within: torch.Tensor | None = None
) -> list[torch.Tensor]:
    """(B, 3, C) int64 of each mask, in parts of a pixel: of each class the pixels that it and the
    true mask are expected to share, those of the true mask, and those of the mask.

    probabilities: (B, P, C) the mean of the members'. masks: (B, P) class ids. within: (B, P) bool,
    the pixels that count; None if all do.
    """
    parts = (probabilities * PARTS).round_().to(torch.int32)
    counts = torch.full_like(parts[..., 0], PARTS)
    if within is not None:
        parts, counts = parts * within[..., None], counts * within
    truth = parts.sum(dim=1)
    return [_overlap(parts, counts, truth, mask.long()) for mask in masks]


def _overlap(
    parts: torch.Tensor, counts: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    own = parts.gather(2, mask[..., None])[..., 0]
    hits, predicted = (
        torch.zeros_like(truth).scatter_add_(1, mask, each.long()) for each in (own, counts)
    )
    return torch.stack([hits, truth, predicted], dim=1)
