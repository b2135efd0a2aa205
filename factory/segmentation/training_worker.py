"""The code of a worker that trains a segmentation network: it steps, rank 0 also logs and saves.

Whatever stops one of them stops all at the same point: each waits for the others at every step.
"""

import logging
import math
from dataclasses import dataclass
from typing import Any

import ray.train
import ray.train.torch
import torch
from torch import nn

from factory import storage
from factory.config import parse_config
from factory.config.segment import SegmentConfig
from factory.diffusion.run_checkpoints import (
    newest_checkpoint,
    on_this_machine,
    save_checkpoint,
    save_metrics,
)
from factory.diffusion.train_state import TrainState, load_state
from factory.errors import NotFinite, Stopped, UserError
from factory.labeling.mirroring import mirror_ids
from factory.precision import in_bf16
from factory.progress import print_lines, tell
from factory.ranks import naming_memory, on_all_ranks, on_rank_0
from factory.segmentation.batches import Pairs
from factory.segmentation.material import Material, open_shards
from factory.segmentation.networks import made, maker
from factory.segmentation.result import write_result
from factory.segmentation.run_identity import checkpoints_url, note_beginning
from factory.segmentation.train_step import new_state, train_step
from factory.step_lines import StepLines


@dataclass(frozen=True)
class _Ranks:
    """This worker among the others, and where it computes."""

    rank: int
    num: int
    device: torch.device


def segment_worker(worker_config: dict[str, Any]) -> str | None:
    """The loop of every worker; rank 0 also logs, measures and saves.

    Returns why it had to stop, None if it did not.
    """
    print_lines()
    settings = parse_config(worker_config["config"]).segment
    shared: Material = ray.get(worker_config["material"])
    material = shared.copied()
    context = ray.train.get_context()
    device = ray.train.torch.get_device()
    ranks = _Ranks(context.get_world_rank(), context.get_world_size(), device)
    torch.set_num_threads(settings.cpus_per_worker)
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    try:
        with naming_memory(settings, settings.batch_size, "begin at another --out"):
            _train(settings, material, ranks)
    except Stopped as stopped:
        return str(stopped)
    return None


def _train(settings: SegmentConfig, material: Material, ranks: _Ranks) -> None:
    """Trains from the newest whole checkpoint to the end, and writes the result."""
    shards = on_all_ranks(
        ranks.num, lambda: [open_shards(settings, material, ranks.rank, ranks.num)]
    )
    make, num_classes = maker(settings), len(material.classes)
    name, size = str(settings.network), material.image_size
    state = new_state(
        lambda: made(make, name, material.num_channels, num_classes, size), settings, ranks.device
    )
    url = checkpoints_url(settings)
    checkpoint = on_rank_0(
        ranks.rank, lambda: newest_checkpoint(url, settings.checkpoint_steps, "segment")
    )
    if checkpoint is not None:
        with on_this_machine(checkpoint) as folder:
            load_state(state, folder)
    precision = "bf16" if in_bf16(settings.precision, ranks.device.type) else "fp32"

    def note() -> None:
        found = {**material.identity(), "segment.precision": precision}
        note_beginning(settings, found, state.step)

    on_rank_0(ranks.rank, note)
    if ranks.rank == 0 and state.step:
        tell(f"segment | going on from step {state.step:,}")
    pairs = Pairs(shards[0], material.real, ranks.rank, ranks.num)
    _steps(settings, state, pairs, material, ranks)
    on_rank_0(ranks.rank, lambda: write_result(settings, state.ema, material, state.step))


def _steps(
    settings: SegmentConfig,
    state: TrainState[nn.Module],
    pairs: Pairs,
    material: Material,
    ranks: _Ranks,
) -> None:
    """Steps to segment.num_steps, telling and saving on the way."""
    mirrored_ids = torch.from_numpy(mirror_ids(material.classes)).long().to(ranks.device)
    network = state.unet
    if state.step < settings.num_steps:
        network = ray.train.torch.prepare_model(network)
    lines = StepLines(settings.section, state.step, settings.num_steps, settings.batch_size)
    batches = pairs.batches(settings, range(state.step, settings.num_steps))
    while state.step < settings.num_steps:
        with lines.waiting():
            batch = next(batches).to(ranks.device)
        lines.loss += train_step(state, network, batch, mirrored_ids, settings, ranks.rank)
        if lines.due(state.step, settings.log_steps):
            loss = lines.mean_loss(state.step, ranks.num)
            if not math.isfinite(loss):
                on_rank_0(ranks.rank, lambda: _stop_diverged(settings, state.step))
            if ranks.rank == 0:
                state.history += (lines.tell(state.step, loss),)
        if lines.due(state.step, settings.checkpoint_steps):
            on_rank_0(ranks.rank, lambda: _save(settings, state))


def _stop_diverged(settings: SegmentConfig, step: int) -> None:
    raise UserError(
        f"the training diverged at step {step:,}: its numbers are not finite. Lower "
        "segment.learning_rate, or raise segment.warmup_steps, at another --out."
    )


def _save(settings: SegmentConfig, state: TrainState[nn.Module]) -> None:
    try:
        save_checkpoint(
            state, checkpoints_url(settings), settings.num_checkpoints_to_keep, "segment"
        )
    except NotFinite:
        _stop_diverged(settings, state.step)
    save_metrics(state, storage.join(settings.url, "metrics.jsonl"))
