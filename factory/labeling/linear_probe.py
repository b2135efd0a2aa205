"""Linear discriminants of many sets of features, cross-validated, from one pass over the pixels.

A linear discriminant is a function of sums over pixels: those of each class, and the products of
features. Those sums are made once, for each fold of the images; whichever features are asked for
then, a solve of their part of the sums gives the discriminant. So hundreds of sets are compared in
the time of one pass of the network.

Shapes: P pixels, N images, F folds, C classes, D features, S features of a set.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from factory.progress import tracked

Floats = npt.NDArray[np.float64]

_SHRINKAGE = 1e-3
"""The share of a feature's mean variance that is added to all of them before they are inverted."""
_PIXELS = 2**13
"""The pixels that are taken at a time."""


@dataclass(frozen=True)
class ProbedPixels:
    """P pixels of labelled images: their features, and what is known of each."""

    features: torch.Tensor
    """(D, P) float16, each of mean 0 over the pixels."""
    labels: torch.Tensor
    """(P,) int64 class ids."""
    images: torch.Tensor
    """(P,) int64: the image that each is of, 0..N-1."""
    weights: torch.Tensor
    """(P,) float64: how much each teaches, relative to the others."""
    shares: torch.Tensor
    """(P,) float64: the number of pixels of its class in all images that it stands for."""


@dataclass(frozen=True)
class Counts:
    """Held-out pixels of each image and class (N, C), by which sets of features are compared."""

    hits: Floats
    truth: Floats
    predicted: Floats

    @property
    def mean_iou(self) -> float:
        """The mean IoU over the classes that the truth has, pixels counted over all images."""
        return float(_mean_iou(self.hits.sum(0), self.truth.sum(0), self.predicted.sum(0)))

    def iou(self) -> Floats:
        """(C,) IoU of each class; nan where the truth lacks it."""
        return iou_of(self.hits.sum(0), self.truth.sum(0), self.predicted.sum(0))

    def noise_of_gain(self, other: "Counts") -> float:
        """What chance makes of the difference of two mean IoUs: twice its standard error, as other
        images would change it, by the jackknife, which leaves out each image once.

        Twice, as gains are those of the best of a dozen sets: chance alone gives it one and a half.
        """
        differences = self._without_each() - other._without_each()
        num = len(differences)
        variance = (num - 1) / num * ((differences - differences.mean()) ** 2).sum()
        return 2 * float(np.sqrt(variance))

    def _without_each(self) -> Floats:
        """(N,) the mean IoU without each image."""
        return _mean_iou(*(c.sum(0) - c for c in (self.hits, self.truth, self.predicted)))


def iou_of(hits: Floats, truth: Floats, predicted: Floats) -> Floats:
    """IoU of each class that the truth has, nan of others.

    So whether another set of features predicts a class that is not there changes no number of
    classes, which would be a difference of means without a difference of labels.
    """
    iou: Floats = np.full(hits.shape, np.nan)
    np.divide(hits, truth + predicted - hits, out=iou, where=truth > 0)
    return iou


def _mean_iou(hits: Floats, truth: Floats, predicted: Floats) -> Floats:
    """Means over the classes that the truth has; classes are the last axis."""
    iou = iou_of(hits, truth, predicted)
    means: Floats = np.nansum(iou, -1) / np.maximum((truth > 0).sum(-1), 1)
    return means


class LinearProbe:
    """Scores sets of features by discriminants that are fitted on all folds but one in turn."""

    def __init__(self, pixels: ProbedPixels, folds: torch.Tensor, num_classes: int) -> None:
        """folds: (N,) the fold of each image."""
        self._pixels, self._num_images = pixels, len(folds)
        self._fold = folds[pixels.images]
        num_folds, dim = int(folds.max()) + 1, len(pixels.features)
        device = pixels.features.device
        self._products = torch.zeros((num_folds, dim, dim), device=device)
        shape = (num_folds, num_classes)
        self._sums = torch.zeros((*shape, dim), dtype=torch.float64, device=device)
        self._counts = torch.zeros(shape, dtype=torch.float64, device=device)
        for i in tracked(range(num_folds), "probe", num_folds, "folds"):
            for some in (self._fold == i).nonzero().flatten().split(_PIXELS):
                self._add(i, some)

    def _add(self, fold: int, pixels: torch.Tensor) -> None:
        """Adds pixels to the sums of a fold."""
        weights, labels = self._pixels.weights[pixels], self._pixels.labels[pixels]
        features = self._pixels.features[:, pixels].float()
        weighted = (features * weights.float()).T
        self._products[fold].addmm_(features, weighted)
        self._sums[fold].index_add_(0, labels, weighted.double())
        self._counts[fold].index_add_(0, labels, weights)

    def scored(self, chosen: torch.Tensor) -> Counts:
        """The counts of a set of features, chosen (S,) by their places among all D."""
        products = self._products[:, chosen[:, None], chosen]
        sums, all_products = self._sums[:, :, chosen], products.sum(0)
        learned = [
            discriminant(
                (all_products - products[i]).double(),
                sums.sum(0) - sums[i],
                self._counts.sum(0) - self._counts[i],
            )
            for i in range(len(products))
        ]
        weights, biases = (torch.stack(parts).float() for parts in zip(*learned, strict=True))
        found = torch.cat(
            [
                self._labelled(self._pixels.features[:, some][chosen], some, weights, biases)
                for some in _slices(len(self._fold))
            ]
        )
        labels, shares = self._pixels.labels, self._pixels.shares
        right = torch.where(found == labels, shares, 0.0)
        counted = ((labels, right), (labels, shares), (found, shares))
        return Counts(*(self._by_image(ids, values) for ids, values in counted))

    def _labelled(
        self, features: torch.Tensor, pixels: slice, weights: torch.Tensor, biases: torch.Tensor
    ) -> torch.Tensor:
        """The classes of some pixels by their features (S, p), each by what the other folds taught:
        weights (F, S, C), biases (F, C)."""
        num_folds, _, num_classes = weights.shape
        columns = weights.transpose(0, 1).flatten(1)
        scores = (features.float().T @ columns).unflatten(1, (num_folds, num_classes))
        fold = self._fold[pixels]
        own: torch.Tensor = scores[torch.arange(len(fold), device=fold.device), fold]
        return own.add(biases[fold]).argmax(1)

    def _by_image(self, ids: torch.Tensor, values: torch.Tensor) -> Floats:
        num_classes = self._counts.shape[1]
        cells = self._pixels.images * num_classes + ids
        counts = cells.bincount(values, minlength=self._num_images * num_classes)
        result: Floats = counts.reshape(-1, num_classes).cpu().numpy()
        return result


def _slices(num_pixels: int) -> list[slice]:
    """All pixels, some at a time."""
    return [slice(start, start + _PIXELS) for start in range(0, num_pixels, _PIXELS)]


def discriminant(
    products: torch.Tensor, sums: torch.Tensor, counts: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The linear discriminant that weighted sums over pixels give: weight (S, C), bias (C,).

    products: (S, S) of features; sums: (C, S) of the features of each class; counts: (C,) of its
    weights. Classes share one covariance, which is shrunk a little towards that of independent
    features. A class without a pixel is never chosen.
    """
    shares = counts / counts.sum()
    means = sums / counts.clamp_min(1e-12)[:, None]
    within = torch.addmm(products / counts.sum(), means.T, means * shares[:, None], alpha=-1)
    within.diagonal().add_(_SHRINKAGE * within.diagonal().mean().clamp_min(1e-9))
    weight = torch.cholesky_solve(means.T, torch.linalg.cholesky(within))
    return weight, shares.log() - (means * weight.T).sum(1) / 2
