"""Stage 2 as commands: `factory probe`, `factory fit` and `factory evaluate`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from factory import embedded, storage
from factory.config import Config, required
from factory.data.inspection import check_disjoint
from factory.data.loading import Labelled, read_labelled
from factory.diffusion.checkpoints import WEIGHTS_DTYPES, Model, load_model
from factory.errors import UserError, counted, shown, some
from factory.labeling import evaluation, probe_outcome, probing
from factory.labeling.calibrating import calibrate, check_calibration
from factory.labeling.fitting import fit_head, new_head_config
from factory.labeling.head import Head
from factory.labeling.heads import (
    check_fits,
    check_replaceable,
    load_head,
    save_head,
    with_calibration,
)
from factory.progress import tell
from factory.values import EMBEDDED


def load_ddpm(config: Config, *others: str) -> Model:
    """The DDPM of models.ddpm_url; others: keys that are needed after it.

    Raises UserError, also where data.channels is set to other channels than it has.
    """
    url = required(config, "models.ddpm_url", *others)
    model = load_model(embedded.ddpm_url(url))
    if config.data.channels not in (None, model.channels):
        raise UserError(
            f"data.channels: is {config.data.channels}, and the images of the DDPM {url} have "
            f"{counted(model.channels, 'channel')}. Set it to {model.channels} or leave it out, or "
            "name a DDPM that was trained with it."
        )
    return model


def load_models(config: Config, *others: str) -> tuple[Model, Head, str]:
    """The DDPM, the ensemble that was fitted on it, and the ensemble's hash; others: keys that are
    needed after them. Raises UserError."""
    key = "models.ensemble_url"
    model = load_ddpm(config, key, *others)
    return model, *load_ensemble_of(required(config, key, *others), model)


def load_ensemble_of(url: str, model: Model) -> tuple[Head, str]:
    """The ensemble of a folder, or the embedded one, that was fitted on a model, and its hash.

    Raises UserError.
    """
    url = embedded.ensemble_url(url)
    ensemble, ensemble_hash = load_head(url, model.model_hash)
    check_fits(ensemble.config, model, f"{url}/config.json")
    return ensemble, ensemble_hash


def available_device() -> torch.device:
    """The GPU if torch can use one, else the CPU; warns of a GPU that it cannot use."""
    if torch.cuda.is_available():
        try:
            # Of a GPU that is too old, or full, torch says so at the first operation.
            torch.zeros(1, device="cuda").add_(1).cpu()
            return torch.device("cuda")
        except RuntimeError as error:
            tell(f"warning: the GPU is left aside: {str(error).strip().splitlines()[0]}")
    return torch.device("cpu")


@contextmanager
def room_on(device: torch.device, key: str) -> Iterator[None]:
    """Turns an out-of-memory error of the device into a UserError."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{device} has too little memory: {' '.join(str(error).split())} Lower {key}, free the "
            "GPU of other programs, or set CUDA_VISIBLE_DEVICES= for the CPU."
        ) from None


def check_probe(config: Config) -> tuple[Model, Labelled]:
    """Returns the model and the labelled images; writes nothing. Raises UserError."""
    model = load_ddpm(config, "data.labelled")
    labelled = read_labelled(required(config, "data.labelled"), model.image_size, model.channels)
    probing.check_probe(model, labelled, config)
    probe_outcome.check_replaceable(config.probe.config_url)
    storage.check_writable(config.probe.url)
    return model, labelled


def probe(config: Config) -> list[str]:
    """Measures which features carry the labels, writes what it found; returns it as lines.

    Raises UserError; OSError while writing.
    """
    model, labelled = check_probe(config)
    tell_reading("probe | data.labelled", labelled, config)
    device = available_device()
    with room_on(device, "probe.pixels_per_image"):
        model.unet.to(device)
        probed = probing.probe(model, labelled, config)
    probe_outcome.write_outcome(probed, labelled.classes, config)
    return [*probe_outcome.table(probed), config.probe.url]


def check_fit(config: Config) -> tuple[Model, Labelled, str]:
    """Returns the model, the training images and the ensemble's URL; writes nothing.

    Raises UserError.
    """
    url = required(config, "models.ensemble_url", "models.ddpm_url", "data.labelled")
    if url in EMBEDDED:
        raise UserError(
            f"models.ensemble_url: is {url}, an embedded one. Name where yours goes with --out."
        )
    check_replaceable(url)
    model = load_ddpm(config, "data.labelled")
    labelled = read_labelled(required(config, "data.labelled"), model.image_size, model.channels)
    new_head_config(model, labelled.classes, config)
    check_calibration(labelled, config.fit.calibration_folds)
    storage.check_writable(url)
    return model, labelled, url


def fit(config: Config) -> str:
    """Fits and writes the ensemble; returns its url. Raises UserError; OSError while writing."""
    model, labelled, url = check_fit(config)
    tell_reading("fit | data.labelled", labelled, config)
    save_head(fitted(model, labelled, config), url, WEIGHTS_DTYPES[config.fit.weights_dtype])
    return url


def fitted(model: Model, labelled: Labelled, config: Config) -> Head:
    """An ensemble fitted on labelled images, on the GPU where there is one, and calibrated if that
    is asked for. Raises UserError."""
    check_calibration(labelled, config.fit.calibration_folds)
    device = available_device()
    images = counted(len(labelled), "labelled image")
    tell(f"fit | {images}, {len(labelled.classes)} classes | on {device}")
    if absent := _absent(labelled):
        tell(f"fit | warning: no pixel of {some(absent)}, which can never be learned")
    with room_on(device, "fit.pool_gib"):
        model.unet.to(device)
        head = fit_head(model, labelled, config)
        if config.fit.calibration_folds == 0:
            return head
        calibration = calibrate(model, labelled, config)
    tell(f"fit | {calibration.words()}")
    for shortcoming in calibration.shortcomings():
        tell(f"fit | warning: {shortcoming}")
    return with_calibration(head, calibration)


def tell_reading(prefix: str, read: Labelled, config: Config) -> None:
    """Tells at which size images were read, if at another one than the config's, and their
    notes."""
    size, asked = read.images.shape[1], config.data.image_size
    if asked not in (None, size):
        tell(f"{prefix}: read at {size} px, the DDPM's size, not at data.image_size = {asked}")
    for note in read.notes:
        tell(f"{prefix}: {shown(note)}")


def _absent(labelled: Labelled) -> list[str]:
    """Classes without a pixel."""
    present = set(np.unique(labelled.masks).tolist())
    return [name for i, name in enumerate(labelled.classes.names) if i not in present]


@dataclass(frozen=True)
class Examination:
    """All that an evaluation needs."""

    model: Model
    ensemble: Head
    ensemble_hash: str
    test: Labelled
    labelled: Labelled | None
    """The images that the ensemble learned from; None where they are not set."""


def check_evaluate(config: Config) -> Examination:
    """Models and images; raises UserError, also where training images are among the test images."""
    model, ensemble, ensemble_hash = load_models(config, "data.test")
    test = read_labelled(required(config, "data.test"), model.image_size, model.channels)
    evaluation.check_classes(ensemble, test)
    known = None
    if config.data.labelled is None:
        tell("evaluate | data.labelled is not set: training images among data.test go unseen")
    else:
        known = read_labelled(config.data.labelled, model.image_size, model.channels)
        check_disjoint(known, test)
    storage.check_writable(config.evaluate.url)
    return Examination(model, ensemble, ensemble_hash, test, known)


def evaluate(config: Config) -> list[str]:
    """Measures on data.test, writes scores and pictures; returns the scores as lines.

    Raises UserError; OSError while writing.
    """
    given = check_evaluate(config)
    test, device = given.test, available_device()
    tell_reading("evaluate | data.test", test, config)
    with room_on(device, "evaluate.batch_size"):
        given.model.unet.to(device)
        given.ensemble.to(device)
        found = evaluation.evaluate(given.model, given.ensemble, test, config)
    evaluation.write_evaluation(found, given.ensemble_hash, test, given.labelled, config)
    certainty = found.certainty.lines() if found.certainty else []
    return [*evaluation.table(found, test), *certainty, config.evaluate.url]
