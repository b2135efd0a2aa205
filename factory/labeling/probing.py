"""Which features of the frozen network carry the labels: each timestep and block alone, the middle
block among them, then a greedy choice of both under a budget of passes.

Some labelled pixels are chosen, and read off the maps of all blocks, a timestep at a time; of each
place (a block at a timestep) the main axes of its descriptors are kept.

Shapes: N images, S image size, P pixels, T timesteps, B blocks, C_k channels of a block, Q axes.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from factory.config import Config
from factory.data.loading import Labelled
from factory.diffusion.checkpoints import Model
from factory.errors import NotFinite, Problems, UserError, counted
from factory.labeling.features import Places, pixel_descriptors
from factory.labeling.fitting import map_passes, places_of_features
from factory.labeling.folds import folds_of, with_labels
from factory.labeling.linear_probe import Counts, Floats, LinearProbe, ProbedPixels
from factory.labeling.pixel_pool import ChosenPixels, choose_pixels, with_positions
from factory.progress import tell, tracked
from factory.values import block_word

_PATIENCE = 3
"""Steps in vain, one after the other, after which the search ends."""
_AXES_PER_PLACE = 64
"""The most axes of a place's descriptors that are kept: those along which they vary most."""


@dataclass(frozen=True)
class Choice:
    """Some timesteps and blocks, and how well all their features together tell the labels."""

    timesteps: tuple[int, ...]
    blocks: tuple[int, ...]
    counts: Counts
    noise: float | None = None
    """The noise of the gain over the choice before it; None if it is the first."""

    @property
    def mean_iou(self) -> float:
        """The mean IoU over the held-out pixels."""
        return self.counts.mean_iou

    def words(self) -> str:
        timesteps, blocks = (
            ", ".join(map(str, places)) for places in (self.timesteps, map(block_word, self.blocks))
        )
        return f"timesteps {timesteps} | blocks {blocks}"


@dataclass(frozen=True)
class Probed:
    """All that a probe found."""

    timesteps: tuple[int, ...]
    blocks: tuple[int, ...]
    alone: Floats
    """(T, B) the mean IoU of each block at each timestep alone."""
    steps: tuple[Choice, ...]
    """The choices on the way, each of more timesteps or blocks; the last is what is chosen."""
    present: Choice
    """The timesteps and blocks that `fit` takes of the config as it is."""
    num_images: int
    num_pixels: int
    num_folds: int
    ddpm_hash: str
    """The hash of the DDPM whose features they are."""

    @property
    def chosen(self) -> Choice:
        """What to fit on."""
        return self.steps[-1]


def check_probe(model: Model, labelled: Labelled, config: Config) -> tuple[int, ...]:
    """The timesteps to try, ascending. Raises UserError for all that stands in the way."""
    problems = Problems()
    num = model.diffusion.num_timesteps
    if max(config.probe.timesteps) >= num:
        problems.add(
            f"probe.timesteps: {max(config.probe.timesteps)} is not below the model's "
            f"{counted(num, 'timestep')}. Name others: --set 'probe.timesteps=[0, {num // 4}]'."
        )
    num_with_labels = int(with_labels(labelled).sum())
    if num_with_labels < 2:
        problems.add(
            f"data.labelled: {counted(num_with_labels, 'image')} of {len(labelled)} with pixels "
            "that are not ignored. A probe learns from some images and measures on others: give it "
            "at least 2."
        )
    try:
        present, _ = places_of_features(model, config)
    except UserError as error:
        for problem in error.problems:
            problems.add(problem)
    problems.raise_if_any()
    return tuple(sorted({*config.probe.timesteps, *present}))


def probe(model: Model, labelled: Labelled, config: Config) -> Probed:
    """Measures all places, and chooses. Raises UserError as `check_probe` does."""
    timesteps, settings = check_probe(model, labelled, config), config.probe
    started = time.monotonic()
    folds = folds_of(labelled, settings.num_folds, settings.seed)
    places = Places(timesteps, tuple(model.unet.block_channels), config.fit.seed)
    chosen = chosen_pixels(labelled, config)
    _tell_beforehand(len(chosen), len(labelled), places, model, config)
    pixels = read_places(model, labelled, places, chosen, config)
    search = _Search(
        LinearProbe(pixels, folds.to(pixels.labels.device), len(labelled.classes)),
        places,
        _widths(model, places),
    )
    alone = search.alone()
    best = max((choice for row in alone for choice in row), key=lambda choice: choice.mean_iou)
    steps = []
    for choice in search.steps(best, settings.num_passes):
        seconds = time.monotonic() - started
        tell(f"probe | mean IoU {choice.mean_iou:.3f} | {choice.words()} | {seconds:.1f}s")
        steps.append(choice)
    return Probed(
        timesteps,
        places.blocks,
        np.array([[choice.mean_iou for choice in row] for row in alone]),
        tuple(steps),
        search.scored(*places_of_features(model, config)),
        len(labelled),
        len(pixels.labels),
        int(folds.max()) + 1,
        model.model_hash,
    )


def present_counts(model: Model, labelled: Labelled, config: Config) -> Counts:
    """The counts of the features that `fit` takes of the config, and of no others: the same that
    `probe` finds for them.

    Raises UserError as `places_of_features` does, and NotFinite.
    """
    places = Places(*places_of_features(model, config), config.fit.seed)
    folds = folds_of(labelled, config.probe.num_folds, config.probe.seed)
    pixels = read_places(model, labelled, places, chosen_pixels(labelled, config), config)
    linear = LinearProbe(pixels, folds.to(pixels.labels.device), len(labelled.classes))
    return linear.scored(torch.arange(len(pixels.features)))


def chosen_pixels(labelled: Labelled, config: Config) -> ChosenPixels:
    """The pixels of labelled images to measure on, which follow from probe.seed."""
    torch.manual_seed(config.probe.seed)
    masks = torch.from_numpy(labelled.masks).flatten(1)
    return choose_pixels(masks, config.probe.pixels_per_image * len(labelled))


def read_places(
    model: Model, labelled: Labelled, places: Places, chosen: ChosenPixels, config: Config
) -> ProbedPixels:
    """Reads the main axes of all places at some pixels of labelled images: a timestep after the
    other, in each the blocks.

    Raises NotFinite where features are no finite numbers.
    """
    masks = torch.from_numpy(labelled.masks).flatten()
    occurring = masks.bincount(minlength=256)[: len(labelled.classes)].double()
    kept = chosen.labels.bincount(minlength=len(labelled.classes)).double()
    device = next(model.unet.parameters()).device
    widths = _widths(model, places)
    channels = [model.unet.block_channels[block] for block in places.blocks]
    shape = (len(places.timesteps) * sum(widths), len(chosen))
    features = torch.empty(shape, dtype=torch.float16, device=device)
    parts = iter(features.split(widths * len(places.timesteps)))
    for timestep in tracked(places.timesteps, "probe", len(places.timesteps), "timesteps"):
        at = Places((timestep,), places.blocks, places.noise_seed)
        passes = with_positions(
            map_passes(model, at, labelled.images, config.fit), chosen.positions, model.image_size
        )
        read = [pixel_descriptors(maps, some, model.image_size) for maps, some in passes]
        if not all(bool(part.isfinite().all()) for part in read):
            raise NotFinite(f"the features at timestep {timestep} are not finite")
        of_blocks = zip(*(part.split(channels, dim=1) for part in read), strict=True)
        for width, some in zip(widths, of_blocks, strict=True):
            next(parts).copy_(main_axes(torch.cat(some), width).T)
    return ProbedPixels(
        features,
        chosen.labels.to(device),
        (chosen.positions // model.image_size**2).to(device),
        chosen.weights.to(device),
        (occurring / kept.clamp_min(1))[chosen.labels].to(device),
    )


def main_axes(descriptors: torch.Tensor, num: int) -> torch.Tensor:
    """(P, num): standardised descriptors (P, C_k) along the axes on which they vary most."""
    deviation = descriptors.std(dim=0, correction=0).clamp_min(1e-6)
    standard = (descriptors - descriptors.mean(dim=0)) / deviation
    _, axes = torch.linalg.eigh(standard.T @ standard)
    largest: torch.Tensor = axes[:, -num:]
    return standard @ largest


def _widths(model: Model, places: Places) -> list[int]:
    """The axes that are kept of each block."""
    return [min(_AXES_PER_PLACE, model.unet.block_channels[block]) for block in places.blocks]


def _tell_beforehand(
    num_pixels: int, num_images: int, places: Places, model: Model, config: Config
) -> None:
    """Tells what is read, and the memory that it takes."""
    dim = len(places.timesteps) * sum(_widths(model, places))
    folds = min(config.probe.num_folds, num_images)
    of_timestep = 2 * 4 * num_pixels * sum(model.unet.block_channels.values())
    num_bytes = 2 * num_pixels * dim + max(of_timestep, 4 * folds * dim**2)
    tell(
        f"probe | {counted(num_images, 'image')}, {counted(num_pixels, 'pixel')} | "
        f"{counted(len(places.timesteps), 'timestep')} x {counted(len(places.blocks), 'block')} | "
        f"about {num_bytes / 2**30:.1f} GiB"
    )


class _Search:
    """Scores sets of places, and goes from the best one to better sets."""

    def __init__(self, linear: LinearProbe, places: Places, widths: Sequence[int]) -> None:
        self._linear, self._places, self._widths = linear, places, widths

    def scored(self, timesteps: Sequence[int], blocks: Sequence[int]) -> Choice:
        """The choice of all these blocks at all these timesteps."""
        starts = np.cumsum([0, *self._widths])
        positions = [self._places.blocks.index(block) for block in blocks]
        columns = [
            self._places.timesteps.index(timestep) * starts[-1] + np.arange(*starts[i : i + 2])
            for timestep in timesteps
            for i in positions
        ]
        counts = self._linear.scored(torch.from_numpy(np.concatenate(columns)))
        return Choice(tuple(timesteps), tuple(blocks), counts)

    def alone(self) -> list[list[Choice]]:
        """Each place alone: a row for each timestep, with each block."""
        timesteps, blocks = self._places.timesteps, self._places.blocks
        return [[self.scored([t], [b]) for b in blocks] for t in timesteps]

    def steps(self, choice: Choice, num_passes: int) -> Iterator[Choice]:
        """Yields the choice, then each one that gains more than noise over the one before it.

        One timestep or block is added at a time, whichever is best, and a few more where that does
        not gain enough: they may do so together.
        """
        yield choice
        kept, num_vain = choice, 0
        while num_vain < _PATIENCE and (larger := self._larger(choice, num_passes)):
            choice = max((self.scored(*places) for places in larger), key=lambda c: c.mean_iou)
            noise = choice.counts.noise_of_gain(kept.counts)
            num_vain += 1
            if choice.mean_iou - kept.mean_iou > noise:
                kept, num_vain = replace(choice, noise=noise), 0
                yield kept

    def _larger(self, choice: Choice, num_passes: int) -> list[tuple[list[int], list[int]]]:
        """Timesteps and blocks of each choice with one of them more."""
        timesteps, blocks = set(choice.timesteps), set(choice.blocks)
        more_timesteps = set(self._places.timesteps) - timesteps
        more_blocks = set(self._places.blocks) - blocks
        if len(timesteps) >= num_passes:
            more_timesteps = set()
        return [
            *(
                (sorted({*timesteps, timestep}), sorted(blocks))
                for timestep in sorted(more_timesteps)
            ),
            *((sorted(timesteps), sorted({*blocks, block})) for block in sorted(more_blocks)),
        ]
