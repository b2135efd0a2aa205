"""A training of a segmentation network in one process, without Ray and without checkpoints."""

import torch
from torch import nn

from factory.config.segment import SegmentConfig
from factory.errors import TrainingFailed
from factory.labeling.mirroring import mirror_ids
from factory.segmentation.batches import Pairs
from factory.segmentation.material import Material, open_shards
from factory.segmentation.networks import made, maker
from factory.segmentation.train_step import new_state, train_step
from factory.torch_threads import torch_threads


def train_alone(settings: SegmentConfig, material: Material, device: torch.device) -> nn.Module:
    """The averaged network after segment.num_steps, in eval mode; it takes segment.cpus_per_worker
    threads.

    Raises UserError where shards cannot be read, and TrainingFailed where the training diverges.
    """
    make, name = maker(settings), str(settings.network)
    num_channels, num_classes = material.num_channels, len(material.classes)
    state = new_state(
        lambda: made(make, name, num_channels, num_classes, material.image_size), settings, device
    )
    mirrored_ids = torch.from_numpy(mirror_ids(material.classes)).long().to(device)
    pairs = Pairs(open_shards(settings, material, 0, 1), material.real)
    loss: torch.Tensor | float = 0.0
    with torch_threads(settings.cpus_per_worker):
        for batch in pairs.batches(settings, range(settings.num_steps)):
            loss = train_step(state, state.unet, batch.to(device), mirrored_ids, settings)
    if not torch.isfinite(torch.as_tensor(loss)):
        raise TrainingFailed(
            f"the training diverged: its loss is not finite after {settings.num_steps:,} steps. "
            "Lower segment.learning_rate, or raise segment.warmup_steps."
        )
    return state.ema.eval()
