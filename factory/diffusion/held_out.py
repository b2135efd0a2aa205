"""Whether a training learns: the error of its network on images that it never sees.

Measured at some shares of noise, always with the same noise, so that the errors of two steps can be
compared. The error of 1 is that of a guess that looks at each pixel alone, and knows of the images
no more than the mean and variance of each channel: a network that has learned how pixels belong
together is below 1 at every share.

Shapes: N images of C channels, S image size.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from factory.diffusion.network import EpsilonFn
from factory.diffusion.noise import normal_noise, sample_seed
from factory.diffusion.schedule import Schedule, q_sample

MOST_IMAGES = 16
"""The most images that a run leaves out."""
_ONE_IN = 20
"""One image in so many is left out, where that is fewer."""
_MEANINGS = {
    5: "grain",
    25: "details",
    50: "details",
    75: "shapes",
    95: "composition",
    99: "colours",
}
"""The shares of noise in a hundred at which errors are measured, and what is learned there."""
_WORSE = 1.1
"""An error so many times the least one of earlier steps has grown: more than chance makes it."""


def parted(num_images: int, most: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The ids of the images to learn from, ascending, and of those that are left out."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(num_images))
    num = min(most, num_images // _ONE_IN)
    return order[num:].sort().values, order[:num]


@dataclass(frozen=True)
class Errors:
    """The errors of a step, by the share of noise in a hundred."""

    by_share: Mapping[int, float]

    @property
    def are_finite(self) -> bool:
        """False if the network gave values that are no numbers."""
        return all(map(math.isfinite, self.by_share.values()))

    def entry(self) -> dict[str, float]:
        """What `metrics.jsonl` has of them."""
        return {_key(share): error for share, error in self.by_share.items()}

    def verdict(self, history: Iterable[Mapping[str, float]]) -> str:
        """Whether the training is healthy, in words.

        history: the entries of earlier steps; those without errors are passed over.
        """
        blind = [_MEANINGS[share] for share, error in self.by_share.items() if error >= 1]
        entries = [entry for entry in history if all(_key(s) in entry for s in self.by_share)]
        if blind:
            return (
                f"not healthy yet: {', '.join(dict.fromkeys(blind))} are guessed no better than "
                "from each pixel alone"
            )
        for share, error in self.by_share.items():
            best = min(entries, key=lambda entry: entry[_key(share)], default=None)
            if best and error > _WORSE * best[_key(share)]:
                return (
                    f"not healthy: with {share} % of noise it was {best[_key(share)]:.3f} at step "
                    f"{best['step']:,.0f}. It begins to know its images by heart, or the learning "
                    "rate is too high"
                )
        return "healthy"

    def __str__(self) -> str:
        return ", ".join(f"{share} %: {error:.3f}" for share, error in self.by_share.items())


def _key(share: int) -> str:
    return f"held_out_error_{share}"


@torch.no_grad()
def errors(network: EpsilonFn, schedule: Schedule, x_0: torch.Tensor, seed: int) -> Errors:
    """The errors of a network on images (N, C, S, S) in [-1, 1], which were left out."""
    seeds = [sample_seed(seed, i) for i in range(len(x_0))]
    variance = x_0.var(dim=(0, 2, 3), correction=0).clamp_min(1e-6)
    found = {}
    for share in _MEANINGS:
        t = int((schedule.alpha_bars - (1 - share / 100)).abs().argmin())
        epsilon = normal_noise(seeds, x_0.shape[1:], stream=t + 1).to(x_0.device)
        at = torch.full((len(x_0),), t, device=x_0.device)
        wrong = (network(q_sample(schedule, x_0, at, epsilon), at) - epsilon).square().mean()
        signal = schedule.alpha_bar(t) * variance
        found[share] = float(wrong / (signal / (signal + 1 - schedule.alpha_bar(t))).mean())
    return Errors(found)
