"""Stage 1 on Ray Train: a worker group fits the DDPM; whatever dies, the same command goes on.

The run's folder:

    run.json                 what was asked; another config in the same place is refused
    checkpoints/step-*/      weights, EMA, optimiser, step; sha256.json, last, proves them whole
    samples/, metrics.jsonl  what it looks like so far
    model/                   the result, in diffusers' layout
    best/                    the same of the step that told labels best, where there are some
    ray/                     Ray Train's mark, by which it sees that all nodes share the place
"""

from importlib.util import find_spec

import ray

from factory import cluster, embedded, storage, worker_group
from factory.config import Config, check_section, config_tree, required
from factory.data.cache.decoded import DECODING, cached_images, check_images
from factory.data.cache.entries import Cached
from factory.data.loading import Labelled
from factory.differences import differences
from factory.diffusion.checkpoints import load_model
from factory.diffusion.families.unet2d import UNet
from factory.diffusion.folders import INDEX
from factory.diffusion.run_checkpoints import saving
from factory.diffusion.run_identity import begin_run, check_run, most_held_out
from factory.diffusion.run_labels import check_places, comes_to_a_probe, read_probed
from factory.diffusion.run_models import best_url, model_url
from factory.diffusion.training_worker import train_worker
from factory.errors import Problems, TrainingFailed, UserError, counted
from factory.likeness.training_images import FILE, kept, write_training_images
from factory.progress import tell, tracked
from factory.worker_group import run_workers


def check(config: Config) -> None:
    """Raises UserError for all that would stop `train`; starts and keeps nothing."""
    unlabelled = required(config, "data.unlabelled", "data.image_size")
    check_settings(config)
    problems = Problems()
    with problems.collected():
        images = check_images(config.data, unlabelled)
    with problems.collected():
        _probed_images(config)
    problems.raise_if_any()
    check_run(config, {**_asked_precision(config), **({"images": images} if images else {})})


def train(config: Config) -> str:
    """Trains to train.num_steps, from the newest whole checkpoint on; returns the model's url.

    Raises UserError before anything is started; TrainingFailed where workers die more
    often than train.max_failures allows or find no room, where the training diverges, where a
    checkpoint or the model cannot be saved, and where no checkpoint is whole and more than the
    first one is lost.
    """
    required(config, "data.unlabelled", "data.image_size")
    check_settings(config)
    return train_checked(config)


def train_checked(config: Config) -> str:
    """Trains as `train` does, where `check_settings` has found nothing wrong with the config."""
    unlabelled = required(config, "data.unlabelled")
    problems = Problems()
    with problems.collected():
        images = cached_images(config.data, unlabelled)
    with problems.collected():
        labelled = _probed_images(config)
    problems.raise_if_any()
    check_run(config, {**_asked_precision(config), "images": images.summary, "decoding": DECODING})
    _tell_odd(config, len(images.images))
    cluster.connect()
    begin_run(config)
    run_workers(
        config.train,
        config.train.num_steps,
        train_worker,
        {
            "config": config_tree(config),
            "images": {"key": images.key, "summary": images.summary},
            "labelled": ray.put(labelled),
            "most_held_out": most_held_out(config),
        },
    )
    _keep_training_images(config, images)
    return model_url(config)


def _probed_images(config: Config) -> Labelled | None:
    """The labelled images by which steps are compared; None where none are. Raises UserError."""
    return read_probed(config) if comes_to_a_probe(config) else None


def _keep_training_images(config: Config, images: Cached) -> None:
    """Adds to the models what tells how near an image is to those that they learned from. Raises
    TrainingFailed where it cannot be written."""
    url, pixels = model_url(config), images.images
    numbers = kept(len(pixels))
    shown = tracked(numbers, "train", len(numbers), "training images looked at")
    try:
        with saving("what is kept of the training images", url):
            write_training_images(url, (pixels[i] for i in shown), len(pixels))
            if storage.exists(storage.join(best_url(config), INDEX)):
                data = storage.read_bytes(storage.join(url, FILE))
                storage.write(storage.join(best_url(config), FILE), data)
    except UserError as error:
        raise TrainingFailed(str(error)) from None


def check_settings(config: Config) -> None:
    """Raises UserError for all that is known to be wrong without reading the images."""
    required(config, "data.image_size")
    check_section(config, "train")
    if comes_to_a_probe(config):
        check_places(config)
    worker_group.check_capacity(config.train)
    _check_tensorboard(config)
    _check_initial_model(config)
    storage.check_writable(config.train.url)
    check_run(config, _asked_precision(config))


def _tell_odd(config: Config, num_images: int) -> None:
    """Tells of settings that are possible, but hardly meant."""
    train = config.train
    if num_images < train.batch_size:
        tell(
            f"train | only {counted(num_images, 'image')} for train.batch_size = "
            f"{train.batch_size}: each step sees some of them more than once"
        )
    if train.num_steps < train.warmup_steps:
        reached = train.learning_rate * train.num_steps / train.warmup_steps
        tell(
            f"train | train.num_steps = {train.num_steps:,} end before train.warmup_steps = "
            f"{train.warmup_steps:,}: the learning rate only comes to {reached:g}"
        )


def _check_tensorboard(config: Config) -> None:
    if not config.train.tensorboard:
        return
    if find_spec("tensorboard") is None:
        raise UserError(
            "train.tensorboard: the package is missing. Install the extra `tensorboard`, or set "
            "it to false."
        )
    if not storage.is_local(config.train.url):
        raise UserError(
            f"train.tensorboard: events go to local folders only, train.url is {config.train.url}. "
            "Set it to false; metrics.jsonl is written anyway."
        )


def _check_initial_model(config: Config) -> None:
    url = config.train.initial_model_url
    if url is None:
        return
    model = load_model(embedded.ddpm_url(url))
    if not isinstance(model.unet, UNet):
        raise UserError(
            f"train.initial_model_url: {url} holds a {type(model.unet).__name__}, which is not "
            "trained here. Start from a UNet2DModel, or leave the key out."
        )
    wanted = {
        "train.unet": config.train.unet.model_dump(),
        "train.diffusion": config.train.diffusion.model_dump(),
    }
    loaded = {
        "train.unet": model.unet.config.model_dump(),
        "train.diffusion": model.diffusion.model_dump(),
    }
    found = differences(loaded, wanted)
    if (asked := config.data.num_channels) != model.unet.channels:
        found.insert(0, f"data.channels: there {model.unet.channels}, here {asked}")
    if found:
        raise UserError(
            f"train.initial_model_url: {url} has another shape: {'; '.join(found)}. "
            "Set these keys as the model has them, or start from another model."
        )


def _asked_precision(config: Config) -> dict[str, str]:
    """The precision as far as it is known before a worker has looked at its processor."""
    asked = config.train.precision
    return {} if asked == "auto" else {"train.precision": asked}
