"""The code of a training worker: it steps, and rank 0 also logs, draws sheets and saves.

Whatever stops one of them stops all at the same point: each waits for the others at every step.
"""

import logging
import math
import platform
from collections.abc import Mapping
from functools import partial
from typing import Any, NoReturn

import ray.train
import ray.train.torch
import torch
import torch.distributed

from factory import embedded, storage
from factory.config import Config, parse_config, required
from factory.data.cache.decoded import DECODING, cached_images
from factory.data.cache.entries import Cached
from factory.data.loading import Labelled
from factory.diffusion.checkpoints import load_model
from factory.diffusion.held_out import parted
from factory.diffusion.run_checkpoints import (
    checkpoint_url,
    checkpoints_url,
    on_this_machine,
    save_checkpoint,
    save_metrics,
)
from factory.diffusion.run_health import tell_health
from factory.diffusion.run_identity import note_beginning
from factory.diffusion.run_labels import LabelProbe, tell_better
from factory.diffusion.run_models import Best, keep_best, restored_best, write_model
from factory.diffusion.run_sheet import Reference, draw_sheet
from factory.diffusion.run_start import find_start
from factory.diffusion.schedule import linear_schedule
from factory.diffusion.train_state import TrainState, is_finite, load_state, new_state
from factory.diffusion.train_step import (
    batch_indices,
    fast_network,
    learning_rate,
    read_batch,
    resident_images,
    train_step,
)
from factory.errors import NotFinite, Stopped, UserError
from factory.images import UInt8, to_signed
from factory.precision import in_bf16
from factory.progress import print_lines, tell
from factory.ranks import naming_memory, on_all_ranks, on_rank_0
from factory.step_lines import StepLines


def train_worker(worker_config: dict[str, Any]) -> str | None:
    """The loop of every worker; rank 0 also logs, draws sheets, measures and saves.

    Returns why it had to stop, None if it did not: Ray would start a worker that raises again,
    which makes no room on a full disk.
    """
    print_lines()
    config = parse_config(worker_config["config"])
    device = ray.train.torch.get_device()
    torch.set_num_threads(config.train.cpus_per_worker)
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    remedy = "go on with --resume-anyway, or begin at another --out"
    try:
        with naming_memory(config.train, config.train.batch_size, remedy):
            _train(config, worker_config, device)
    except Stopped as stopped:
        return str(stopped)
    return None


def _train(config: Config, worker_config: dict[str, Any], device: torch.device) -> None:
    """Trains from where the run is to its end, and writes the result."""
    context = ray.train.get_context()
    rank, num_ranks = context.get_world_rank(), context.get_world_size()
    precision = "bf16" if in_bf16(config.train.precision, device.type) else "fp32"
    labelled = _labelled_here(worker_config["labelled"]) if rank == 0 else None
    images = on_all_ranks(num_ranks, lambda: _images_here(config, **worker_config["images"]))
    start = on_rank_0(rank, lambda: find_start(config))
    state = _restored_state(config, start.checkpoint, device)
    found = {"train.precision": precision, "images": images.summary, "decoding": DECODING}
    on_rank_0(rank, lambda: note_beginning(config, found, state.step))
    if rank == 0 and state.step:
        tell(f"train | going on from step {state.step:,}{start.why}")
    # A run that begins has no best step, whatever another one has left there.
    is_resumed = labelled is not None and state.step > 0
    best = on_rank_0(rank, lambda: restored_best(config, state, start) if is_resumed else None)
    if state.step < config.train.num_steps:
        parts = parted(len(images.images), worker_config["most_held_out"], config.train.seed)
        labels = None if labelled is None else LabelProbe(config, labelled, best)
        ranks = rank, num_ranks
        _train_on(config, state, images.images, parts, labels, ranks, device)
    on_rank_0(rank, lambda: write_model(config, state))
    if rank == 0 and labelled is not None:
        tell_better(config, labelled, state.step, device)


def _images_here(config: Config, key: str, summary: str) -> Cached:
    """The images on this machine; raises UserError where they are not the driver's."""
    images = cached_images(config.data, required(config, "data.unlabelled"), key)
    if images.summary != summary:
        raise UserError(
            f"{platform.node()} finds other images than the driver: {images.summary} instead of "
            f"{summary}. All nodes must see the same files at data.unlabelled.url and have the "
            "same version of Pillow."
        )
    return images


def _labelled_here(shared: ray.ObjectRef) -> Labelled | None:
    """The labelled images of the driver, or that there are none."""
    labelled: Labelled | None = ray.get(shared)
    return None if labelled is None else labelled.copied()


def _train_on(
    config: Config,
    state: TrainState,
    pixels: UInt8,
    parts: tuple[torch.Tensor, torch.Tensor],
    labels: LabelProbe | None,
    ranks: tuple[int, int],
    device: torch.device,
) -> None:
    """Steps to train.num_steps, telling, drawing, measuring and saving on the way.

    parts: the ids of the images to learn from, and of those that are left out. labels: None on all
    ranks but 0, and where nothing is measured by labels. ranks: this one, and how many there are.
    """
    images, (learned, left_out), (rank, num_ranks) = resident_images(pixels, device), parts, ranks
    held_out = to_signed(read_batch(images, left_out, device))
    network = fast_network(state.unet, config.train, ray.train.torch.prepare_model)
    schedule = linear_schedule(config.train.diffusion).to(device)
    train = config.train
    lines = StepLines(train.section, state.step, train.num_steps, train.batch_size)
    board, reference = _tensorboard(config), Reference(pixels)
    while state.step < config.train.num_steps:
        with lines.waiting():
            chosen = batch_indices(len(learned), config.train, state.step, rank, num_ranks)
            batch = read_batch(images, learned[chosen], device)
        lines.loss += train_step(state, network, schedule, batch, config.train, rank)
        if lines.due(state.step, config.train.log_steps):
            loss = lines.mean_loss(state.step, num_ranks)
            if not math.isfinite(loss):
                on_rank_0(rank, lambda: _stop_diverged(config, state, "the loss is not finite"))
            if rank == 0:
                entry = lines.tell(state.step, loss)
                state.history += (entry,)
                _write_events(board, entry)
        if rank == 0 and state.step % config.train.sample_steps == 0:
            draw_sheet(config, state, reference, device)
        if labels is not None and lines.due(state.step, config.train.probe_steps):
            labels.measure(state)
        is_due = lines.due(state.step, config.train.checkpoint_steps)
        if rank == 0 and is_due and len(held_out):
            tell_health(config, state, schedule, held_out)
        if is_due or state.step == state.end.last_before:
            best = None if labels is None else labels.best
            on_rank_0(rank, partial(_save, config, state, best))


def _restored_state(config: Config, checkpoint: str | None, device: torch.device) -> TrainState:
    initial = config.train.initial_model_url
    state = new_state(
        config, device, load_model(embedded.ddpm_url(initial)).unet if initial else None
    )
    if checkpoint is not None:
        with on_this_machine(checkpoint) as folder:
            load_state(state, folder)
        if not is_finite(state):
            raise Stopped(
                f"{checkpoint}: holds values that are not finite, as the training diverged before "
                "it. Delete it to go on from an older one."
            )
    return state


def _stop_diverged(config: Config, state: TrainState, what: str) -> NoReturn:
    """Raises UserError: what went wrong, what is left, and how not to come here again."""
    train, rate = config.train, learning_rate(config.train, state.step - 1)
    good = find_start(config).checkpoint
    bf16 = in_bf16(train.precision, next(state.unet.parameters()).device.type)
    raise UserError(
        f"the training diverged: {what} at step {state.step:,}, with a learning rate of {rate:g}. "
        + (f"The last good checkpoint is {good}. " if good else "There is no checkpoint yet. ")
        + "The same command would come here again: lower train.learning_rate or "
        "train.max_grad_norm, "
        + ("" if bf16 else "or ")
        + "raise train.warmup_steps"
        + (", or set train.precision=fp32" if bf16 else "")
        + (", and go on from there with --resume-anyway." if good else ", at another --out.")
    )


def _save(config: Config, state: TrainState, best: Best | None = None) -> None:
    """best: that of the run so far, which the last checkpoint before the fall keeps."""
    train, url = config.train, checkpoints_url(config)
    try:
        if best is not None and state.step == state.end.last_before:
            keep_best(config, checkpoint_url(url, state.step))
        save_checkpoint(state, url, train.num_checkpoints_to_keep)
    except NotFinite:
        _stop_diverged(config, state, "the weights are not finite")
    save_metrics(state, storage.join(train.url, "metrics.jsonl"))


def _tensorboard(config: Config) -> Any:
    if not config.train.tensorboard or ray.train.get_context().get_world_rank() != 0:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(storage.join(config.train.url, "tensorboard"))


def _write_events(board: Any, entry: Mapping[str, float]) -> None:
    """Adds what a line tells to the events of TensorBoard, if they are written."""
    if board is not None:
        for name in ("loss", "images_per_second"):
            board.add_scalar(name, entry[name], entry["step"])
