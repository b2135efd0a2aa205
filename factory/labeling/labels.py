"""Labels whole images from their maps: project, then upsample; vote and uncertainty in passing.

The ensemble's first layer and bilinear upsampling are both linear, and bilinear weights sum to
one, so the layer is applied to the maps' own cells, and a pixel gathers what it needs of them: its
four neighbours at each resolution, weighted. That equals classifying upsampled descriptors, at a
fraction of the work, and neither descriptors nor upsampled layers ever exist as a whole.

Shapes: B images, S image size, K members, H1, H2 hidden, C classes, P pixels of a chunk; D
descriptor; N cells: the places of the maps of all resolutions, one resolution after the other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from operator import add

import torch
import torch.nn.functional as F

from factory.labeling.features import neighbours
from factory.labeling.folded import FoldedEnsemble
from factory.labeling.head import Labels
from factory.labeling.overlaps import expected_overlaps
from factory.precision import products_in_tf32

_CELL_BYTES = {"cpu": 3 * 2**24, "cuda": 2**30}
"""The bytes of projected cells at a time: images and members are taken in rounds of that."""
_CHUNK_BYTES = {"cpu": 2**21, "cuda": 2**28}
"""The bytes of hidden units at a time; on the CPU, the size of its cache."""


@dataclass(frozen=True)
class Votes:
    """The votes of members on P pixels, summed over the members added so far."""

    probabilities: torch.Tensor
    """(P, C)."""
    counts: torch.Tensor
    """(P, C) how many members choose a class."""
    entropies: torch.Tensor
    """(P,) nats."""

    @classmethod
    def none(cls, num_pixels: int, num_classes: int, device: torch.device) -> "Votes":
        """Before any member is added."""
        shape = (num_pixels, num_classes)
        return cls(*(torch.zeros(s, device=device) for s in (shape, shape, shape[:1])))

    def __getitem__(self, pixels: slice) -> "Votes":
        return Votes(self.probabilities[pixels], self.counts[pixels], self.entropies[pixels])

    def add(self, logits: torch.Tensor) -> None:
        """Adds members' logits (K, P, C), in place."""
        log_p = logits.log_softmax(dim=-1)
        p = log_p.exp()
        self.probabilities.add_(p.sum(dim=0))
        self.entropies.sub_(log_p.mul_(p).sum(dim=-1).sum(dim=0))
        chosen = logits.argmax(dim=-1).T
        ones = torch.ones((), device=logits.device).expand(chosen.shape)
        self.counts.scatter_add_(1, chosen, ones)

    def mirrored(self, image_size: int, partners: tuple[int, ...]) -> "Votes":
        """The votes on images (S, S), of those on the mirrored ones; partners: see `View`."""
        columns = _columns(partners, self.counts.device)
        rows = [part.unflatten(0, (-1, image_size, image_size)).flip(2) for part in self._parts]
        probabilities, counts, entropies = (part.flatten(0, 2) for part in rows)
        return Votes(probabilities[:, columns], counts[:, columns], entropies)

    @property
    def _parts(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.probabilities, self.counts, self.entropies

    def __add__(self, other: "Votes") -> "Votes":
        """The votes of both, on the same pixels."""
        return Votes(*(a + b for a, b in zip(self._parts, other._parts, strict=True)))

    def labels(
        self, num_members: int, image_size: int, within: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """The fields of `Labels` of the images (S, S) that the pixels are of.

        within: see `Head.label`.
        """
        soft, hard, disagreement = self.result(num_members)
        mean = (self.probabilities / num_members).unflatten(0, (-1, image_size**2))
        masks = soft.view(len(mean), -1), hard.view(len(mean), -1)
        overlaps = expected_overlaps(mean, masks, None if within is None else within.flatten(1))
        shape = (-1, image_size, image_size)
        return soft.view(shape), hard.view(shape), disagreement.view(shape), *overlaps

    def result(self, num_members: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(P,) soft vote, hard vote, both uint8, and disagreement: see `Labels`."""
        num_classes = self.counts.shape[-1]
        # Distinct scores, so that the largest is unique and ties fall to the smaller id.
        scores = self.counts * num_classes - torch.arange(num_classes, device=self.counts.device)
        mean = self.probabilities / num_members
        entropy_of_mean = -(mean * mean.clamp_min(1e-30).log()).sum(dim=-1)
        disagreement = (entropy_of_mean - self.entropies / num_members).clamp_min(0.0)
        soft, hard = (values.argmax(dim=-1).to(torch.uint8) for values in (mean, scores))
        return soft, hard, disagreement


@dataclass(frozen=True)
class View:
    """B images as the network sees them: as they are, or mirrored."""

    maps: Sequence[torch.Tensor]
    """(B, C_m, h_m, w_m), in the descriptor's order."""
    partners: tuple[int, ...] | None = None
    """Of mirrored images, the id of each class in the images themselves; None of these."""


def label_maps(
    ensemble: FoldedEnsemble,
    views: Sequence[View],
    image_size: int,
    within: torch.Tensor | None = None,
) -> Labels:
    """Labels B images from their views, on each of which all members vote.

    within: see `Head.label`. Beside maps and labels, memory stays below 100 MB on the CPU for
    any number of images of up to 256 px at the paper's widths.
    """
    maps = views[0].maps
    resolutions = tuple(sorted({m.shape[-1] for m in maps}))
    num_cells = sum(resolution**2 for resolution in resolutions)
    budget = _CELL_BYTES[maps[0].device.type] // (4 * num_cells * ensemble.hidden_1)
    members = min(ensemble.num_members, max(1, budget))
    images = max(1, budget // members)
    parts = []
    for start in range(0, len(maps[0]), images):
        given = []
        for view in views:
            few = [m[start : start + images] for m in view.maps]
            votes = _votes(ensemble, few, members, resolutions, image_size)
            if view.partners is not None:
                votes = votes.mirrored(image_size, view.partners)
            given.append(votes)
        counted = None if within is None else within[start : start + images]
        num_votes = ensemble.num_members * len(views)
        parts.append(reduce(add, given).labels(num_votes, image_size, counted))
    return Labels(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _votes(
    ensemble: FoldedEnsemble,
    maps: Sequence[torch.Tensor],
    members: int,
    resolutions: tuple[int, ...],
    image_size: int,
) -> Votes:
    """The votes on a few images, so many members at a time."""
    votes = Votes.none(len(maps[0]) * image_size**2, ensemble.num_classes, maps[0].device)
    for first in range(0, ensemble.num_members, members):
        some = ensemble[first : first + members]
        _add_members(votes, some, _projected(some, maps, resolutions), resolutions, image_size)
    return votes


def _projected(
    ensemble: FoldedEnsemble, maps: Sequence[torch.Tensor], resolutions: Sequence[int]
) -> torch.Tensor:
    """The first layer on the maps' cells: (B, N, K * H1).

    Maps of one resolution add up where their cells lie: one product of matrices each, without a
    copy of the maps.
    """
    weights = ensemble.weight_1.split([m.shape[1] for m in maps], dim=1)
    num_images, num_cells = len(maps[0]), sum(resolution**2 for resolution in resolutions)
    cells = maps[0].new_empty((num_images, num_cells, len(ensemble.bias_1)), dtype=torch.float32)
    start = 0
    for resolution in resolutions:
        part = cells[:, start : start + resolution**2]
        chosen = [
            pair for pair in zip(maps, weights, strict=True) if pair[0].shape[-1] == resolution
        ]
        for i, (m, weight) in enumerate(chosen):
            columns = m.flatten(2).float().transpose(1, 2)
            # A map of bfloat16 is exact in TF32, which keeps more bits of a weight than it has.
            with products_in_tf32(m.dtype is torch.bfloat16):
                part.baddbmm_(columns, weight.T.expand(num_images, -1, -1), beta=min(i, 1))
        if start == 0:
            # Once: a pixel's shares of a resolution's cells sum to one.
            part.add_(ensemble.bias_1)
        start += resolution**2
    return cells


def _add_members(
    votes: Votes,
    ensemble: FoldedEnsemble,
    cells: torch.Tensor,
    resolutions: tuple[int, ...],
    image_size: int,
) -> None:
    """The members' votes on all pixels of the images that the cells (B, N, K * H1) are of."""
    near, shares = _neighbours(resolutions, image_size, cells.device)
    rows = cells.flatten(0, 1)
    for pixels in _chunks(votes.entropies.numel(), rows.shape[1] * 4, cells.device):
        within = torch.arange(pixels.start, pixels.stop, device=cells.device)
        pixel = within % image_size**2
        first_cell = (within // image_size**2 * cells.shape[1])[:, None]
        hidden = F.embedding_bag(
            near[pixel] + first_cell, rows, per_sample_weights=shares[pixel], mode="sum"
        )
        votes[pixels].add(ensemble.logits(hidden))


def _chunks(num_pixels: int, bytes_per_pixel: int, device: torch.device) -> Iterator[slice]:
    size = max(1, _CHUNK_BYTES[device.type] // bytes_per_pixel)
    for start in range(0, num_pixels, size):
        yield slice(start, min(start + size, num_pixels))


@cache
def _neighbours(
    resolutions: tuple[int, ...], image_size: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """The cells of each pixel (S * S, 4 * resolutions), and the share of each in it.

    Bilinear with pixel centres: what `F.interpolate(align_corners=False)` does. Cells of all
    resolutions are numbered one resolution after the other.
    """
    cells, shares, start = [], [], 0
    for resolution in resolutions:
        near, share = neighbours(resolution, image_size, device)
        cells.append(near + start)
        shares.append(share)
        start += resolution**2
    return torch.cat(cells, dim=1), torch.cat(shares, dim=1)


@cache
def _columns(partners: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """The partners as an index on a device, which is made once, as making one waits for it."""
    return torch.tensor(partners).to(device)
