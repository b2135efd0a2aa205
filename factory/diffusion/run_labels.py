"""Tells of a run how well the features of its averaged network tell the labels of a few images, and
keeps the best network.

The measure is that of `factory probe` for the features that `fit` takes: a linear classifier on
some pixels, cross-validated by image. It follows from the weights and the config alone.
"""

import hashlib
import json

import numpy as np
import torch

from factory import storage
from factory.config import Config
from factory.data.loading import Labelled, read_labelled
from factory.diffusion.checkpoints import Model, load_model
from factory.diffusion.families.unet2d import UNet
from factory.diffusion.run_models import Best, best_url, model_url, read_best, write_best
from factory.diffusion.train_state import TrainState
from factory.errors import NotFinite, UserError, counted, shown
from factory.labeling.fitting import places_of_features
from factory.labeling.folds import part_of, with_labels
from factory.labeling.linear_probe import Counts
from factory.labeling.probing import present_counts
from factory.progress import tell

MOST_IMAGES = 100
"""The most labelled images that a step is measured on; of more some are taken, evenly."""


def comes_to_a_probe(config: Config) -> bool:
    """True if a run of the config measures any of its steps, for which it needs labelled images."""
    return config.data.labelled is not None and config.train.probe_steps <= config.train.num_steps


def check_places(config: Config) -> None:
    """Raises UserError where the run's network lacks a block or a timestep that `fit` takes."""
    with torch.device("meta"):
        unet = UNet(config.train.unet, config.data.num_channels)
    places_of_features(_model(config, unet), config)


def read_probed(config: Config) -> Labelled | None:
    """The labelled images that steps are measured on; None where too few have labels, which is
    told.

    Raises UserError with a line for all that is wrong with any labelled image.
    """
    assert config.data.labelled is not None, "a run without labelled images measures nothing"
    labelled = read_labelled(config.data.labelled, config.data.side, config.data.num_channels)
    for note in labelled.notes:
        tell(f"train | data.labelled: {shown(note)}")
    numbers = with_labels(labelled).nonzero()[0]
    if len(numbers) < 2:
        tell(
            f"train | data.labelled: {counted(len(numbers), 'image')} of {len(labelled)} with "
            "pixels that are not ignored. A probe learns from some images and measures on others: "
            "steps are not compared by labels"
        )
        return None
    num = min(MOST_IMAGES, len(numbers))
    chosen = np.zeros(len(labelled), np.bool_)
    chosen[numbers[np.linspace(0, len(numbers) - 1, num).astype(np.int64)]] = True
    return part_of(labelled, chosen)


class LabelProbe:
    """The measure of a run's steps, and the best of them."""

    def __init__(self, config: Config, labelled: Labelled, best: Best | None) -> None:
        """best: that of the run so far."""
        self._config, self._labelled, self.best = config, labelled, best
        self._id = _identity(config, labelled)

    def measure(self, state: TrainState) -> None:
        """A line and an entry of the history; and the model of the best step, if that is it."""
        images = counted(len(self._labelled), "labelled image")
        prefix = f"train | step {state.step:,} | labels: a linear probe of {images}"
        try:
            found = Best(state.step, self.score(state), self._id)
        except NotFinite:
            # Weights that are not finite are refused when they are saved.
            tell(f"{prefix} has no features that are finite numbers")
            return
        tell(f"{prefix} comes to {found.mean_iou:.3f} mean IoU ({self._standing(found)})")
        state.history += ({"step": state.step, "labels_mean_iou": found.mean_iou},)
        if self._is_best(found):
            self._keep(state, found)

    def score(self, state: TrainState) -> float:
        """The mean IoU that the averaged network's features come to. Raises NotFinite."""
        unet = state.ema.eval()
        try:
            return present_counts(_model(self._config, unet), self._labelled, self._config).mean_iou
        finally:
            unet.train()

    def _is_best(self, found: Best) -> bool:
        """True also of the best step itself: a run that was stopped while that was written comes to
        it again, and to the same score."""
        best = self.best
        if best is None or best.probe != found.probe:
            return True
        return found.mean_iou > best.mean_iou or found == best

    def _standing(self, found: Best) -> str:
        best = self.best
        if best is not None and not self._is_best(found):
            return f"best so far {best.mean_iou:.3f} at step {best.step:,}"
        if best is not None and best.probe != found.probe:
            return "the best so far: other images or settings measured the steps before"
        return "the best so far"

    def _keep(self, state: TrainState, found: Best) -> None:
        try:
            write_best(self._config, state, found, len(self._labelled), self.best)
        except OSError as error:
            # Nobody needs it to go on; a later one may find room again.
            url = best_url(self._config)
            tell(f"train | {url}: not written ({storage.describe(error)})")
        else:
            self.best = found


def tell_better(config: Config, labelled: Labelled, step: int, device: torch.device) -> None:
    """Tells at the end of a run, after so many steps, whether its best step is better than its
    last by more than chance makes of it, and how to take it.

    Both are measured as they lie in their folders.
    """
    last_url, url = model_url(config), best_url(config)
    try:
        if (best := read_best(config)) is None:
            return
        if best.step == step:
            tell(f"train | no step tells labels better than the last, {step:,}")
            return
        last, found = (_stored_counts(each, labelled, config, device) for each in (last_url, url))
    except (UserError, NotFinite) as error:
        tell(f"train | {url}: not compared with the last step ({error})")
        return
    noise = found.noise_of_gain(last)
    chance = f"where chance makes differences of {noise:.3f}"
    if found.mean_iou - last.mean_iou > noise:
        tell(
            f"train | step {best.step:,} tells labels better than the last, {step:,}: mean IoU "
            f"{found.mean_iou:.3f} to {last.mean_iou:.3f}, {chance}. To take it, set "
            f"models.ddpm_url: {url}"
        )
    else:
        tell(
            f"train | the last step, {step:,}, tells labels as well as step {best.step:,}: mean "
            f"IoU {last.mean_iou:.3f} to {found.mean_iou:.3f}, {chance}. The last is in "
            f"{last_url}, the other in {url}"
        )


def _stored_counts(url: str, labelled: Labelled, config: Config, device: torch.device) -> Counts:
    """The counts of a model as it lies in its folder. Raises UserError, NotFinite."""
    model = load_model(url)
    model.unet.to(device)
    return present_counts(model, labelled, config)


def _model(config: Config, unet: UNet) -> Model:
    """The run's network as one that is finished."""
    return Model(unet, config.train.diffusion, config.data.side, "")


def _identity(config: Config, labelled: Labelled) -> str:
    """What tells a measure from others: its images, their labels, and how it is made."""
    settings = {
        "fit": config.fit.model_dump(include={"timesteps", "blocks", "precision", "seed"}),
        "probe": config.probe.model_dump(include={"pixels_per_image", "num_folds", "seed"}),
        "num_classes": len(labelled.classes),
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(labelled.images.tobytes())
    digest.update(labelled.masks.tobytes())
    return digest.hexdigest()[:16]
