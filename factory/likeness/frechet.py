"""The Frechet distance of two sets of images in the fixed feature space.

Heusel et al. 2017, equation 6: the distance of two normal distributions that have the means and
covariances of both sets. Features are divided by their deviations in the images that one compares
with, and the result by the number of features: 0 is alike, 1 is about as far apart as if every
feature were off by its whole deviation.
"""

import torch


def frechet_distance(some: torch.Tensor, reference: torch.Tensor) -> float:
    """The distance of two sets of statistics, (N, F) and (M, F), each of two rows at least.

    Few images make it larger than it is: compare only numbers of as many images.
    """
    assert min(len(some), len(reference)) > 1, "a covariance needs two images"
    mean, deviation = reference.double().mean(dim=0), reference.double().std(dim=0).clamp_min(1e-6)
    a, b = ((x.double() - mean) / deviation for x in (some, reference))
    of_a, of_b = torch.cov(a.T), torch.cov(b.T)
    root = _root(of_b)
    # The trace of sqrt(A B), by the symmetric matrix that has the same eigenvalues as A B.
    shared = torch.linalg.eigvalsh(root @ of_a @ root).clamp_min(0).sqrt().sum()
    apart = (a.mean(dim=0) - b.mean(dim=0)).square().sum()
    total = apart + of_a.trace() + of_b.trace() - 2 * shared
    return max(0.0, float(total) / some.shape[1])


def _root(covariance: torch.Tensor) -> torch.Tensor:
    """The symmetric square root of a covariance."""
    values, vectors = torch.linalg.eigh(covariance)
    root: torch.Tensor = vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.T
    return root
