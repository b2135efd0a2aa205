"""Fits an ensemble on a pool of labelled pixels: all members at once.

Each step draws rows of the pool. The pool holds descriptors along their principal axes, and the
axes become part of the members' first layer at the end. Adam scales coordinates one by one:
channels vary together, principal coordinates do not, so far fewer steps suffice; and axes along
which next to nothing varies, most of them, cost nothing.

Shapes: N images, S image size, Q axes, K members, C classes.
"""

import time
from collections.abc import Iterable

import torch
import torch.nn.functional as F

from factory.classes import IGNORE_ID
from factory.config import FitConfig
from factory.errors import counted
from factory.labeling.ensemble import Ensemble, EnsembleConfig, load_weights
from factory.labeling.head import HeadKind, Maps
from factory.labeling.pixel_pool import Axes, PixelPool, make_pool
from factory.precision import autocast, in_bf16
from factory.progress import tell, tracked

_LOG_STEPS = 100


def fit_ensemble(
    passes: Iterable[Maps],
    masks: torch.Tensor,
    ensemble_config: EnsembleConfig,
    settings: FitConfig,
) -> Ensemble:
    """The ensemble fitted to masks (N, S, S) uint8 and to maps, on their device, in eval mode.

    passes: see `make_pool`. Raises UserError where every pixel is ignored.
    """
    torch.manual_seed(settings.seed)
    started = time.monotonic()
    pool = make_pool(passes, masks, ensemble_config.descriptor_dim, settings.pool_gib)
    seconds = time.monotonic() - started
    pixels = f"{counted(len(pool.pixels), 'pixel')} of {counted(len(masks), 'image')}"
    tell(f"fit | {pixels} | {seconds:.1f}s")
    return fit_pool(ensemble_config, pool, settings)


def fit_pool(
    ensemble_config: EnsembleConfig,
    pool: PixelPool,
    settings: FitConfig,
) -> Ensemble:
    """The ensemble fitted to the pool, on its device, in eval mode."""
    device, num_axes = pool.coordinates.device, pool.coordinates.shape[1]
    bf16 = in_bf16(settings.precision, device.type)
    ensemble = Ensemble(ensemble_config.model_copy(update={"descriptor_dim": num_axes}))
    ensemble.to(device).train()
    optimizer = torch.optim.Adam(ensemble.parameters(), lr=settings.learning_rate, fused=True)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.num_steps)
    started = time.monotonic()
    steps = range(1, settings.num_steps + 1)
    for step in tracked(steps, "fit", settings.num_steps, "steps"):
        coordinates, labels = pool.draw(settings.pixels_per_step)
        with autocast(bf16, device.type):
            logits = ensemble(coordinates.float())
        loss = members_loss(logits.float(), labels, settings.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        decay.step()
        if step % _LOG_STEPS == 0 or step == settings.num_steps:
            seconds = time.monotonic() - started
            line = f"fit | step {step}/{settings.num_steps} | loss {float(loss.detach()):.4f}"
            tell(f"{line} | {seconds:.1f}s")
    return unfolded(ensemble, pool.axes, ensemble_config)


def unfolded(fitted: Ensemble, axes: Axes, ensemble_config: EnsembleConfig) -> Ensemble:
    """An ensemble fitted to coordinates, as one that takes descriptors; in eval mode."""
    ensemble = Ensemble(ensemble_config).to(axes.mean.device)
    weights = fitted.state_dict()
    weights["linear_1.weight"] = weights["linear_1.weight"] @ axes.directions.T
    ensemble.load_state_dict(weights)
    ensemble.fold_standardisation(axes.mean, axes.deviation)
    return ensemble.eval().requires_grad_(False)


def members_loss(
    logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0
) -> torch.Tensor:
    """Cross-entropy (K, N, C), (N,) summed over members, mean over pixels that are not ignored.

    The sum makes every member's gradient that of its own loss. 0 where all pixels are ignored.
    smoothing: the share of each label that is spread evenly over all classes.
    """
    total = F.cross_entropy(
        logits.flatten(0, 1),
        labels.repeat(len(logits)),
        ignore_index=IGNORE_ID,
        reduction="sum",
        label_smoothing=smoothing,
    )
    return total / (labels != IGNORE_ID).sum().clamp_min(1)


KIND = HeadKind(
    config=EnsembleConfig,
    own_fields=("num_members", "hidden"),
    load=load_weights,
    fit=fit_ensemble,
)
