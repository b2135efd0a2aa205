"""Labels one 256x256 image from given maps at the paper's widths; against the paper's own path.

Its path (yandex-research/ddpm-segmentation): upsample every map, concatenate, classify each pixel
with ten MLPs one after the other, majority and Jensen-Shannon divergence. The same random maps and
weights go through both; peak memory is that of a process of its own beyond maps and weights.
"""

import argparse
import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measuring
import torch
from measuring import Row
from torch import nn

from factory.labeling.ensemble import Ensemble, EnsembleConfig

SIZE = 256
BLOCKS = ((1024, 32), (512, 32), (512, 32), (512, 64), (256, 128))
NUM_TIMESTEPS, NUM_MEMBERS, NUM_CLASSES, HIDDEN = 3, 10, 19, (128, 32)
STATUS = Path("/proc/self/status")

Label = Callable[[], torch.Tensor]
"""-> (S, S) class ids by majority."""


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser(__doc__ or "")
    measuring.add_ddpm_segmentation(arguments)
    arguments.add_argument("--memory-of", choices=("ours", "paper"), help=argparse.SUPPRESS)
    return arguments


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        print(json.dumps(peak_megabytes(arguments.memory_of, arguments.ddpm_segmentation)))
        return
    if arguments.ddpm_segmentation is None:
        measuring.absent("the paper's path", "--ddpm-segmentation")
    ensemble, maps = random_ensemble(), random_maps()
    ours = our_path(ensemble, maps)
    paper = paper_path(arguments.ddpm_segmentation, ensemble, maps)
    seconds = measuring.alternating(ours, paper, arguments.runs)
    memory = [memory_of(side, arguments) for side in ("ours", "paper")]
    rows = [
        Row("label one 256x256 image", *seconds, "s", ">= 15x"),
        Row("peak extra memory", memory[0] or 0.0, memory[1], "MB", ">= 20x, ours < 100 MB"),
    ]
    if paper:
        equal = float((ours() == paper()).double().mean()) * 100
        rows.append(Row("pixels labelled alike", equal, None, "%", ">= 99.99 %"))
    measuring.report(
        "Labelling",
        rows,
        arguments.json,
        [
            f"{NUM_MEMBERS} members, hidden {HIDDEN}, {NUM_CLASSES} classes, "
            f"{NUM_TIMESTEPS} x {sum(c for c, _ in BLOCKS)} channels, fp32, random maps and "
            "weights. Peak memory: beyond maps and weights, after a first labelling of small maps."
        ],
    )


def random_ensemble() -> Ensemble:
    """In eval mode, with batch statistics of ordinary size."""
    config = EnsembleConfig(
        class_names=tuple(f"class {i}" for i in range(NUM_CLASSES)),
        palette=((0, 0, 0),) * NUM_CLASSES,
        image_size=SIZE,
        timesteps=(50, 150, 250),
        blocks=(5, 6, 7, 8, 12),
        noise_seed=0,
        descriptor_dim=NUM_TIMESTEPS * sum(channels for channels, _ in BLOCKS),
        num_members=NUM_MEMBERS,
        hidden=HIDDEN,
        ddpm_hash="0" * 64,
    )
    torch.manual_seed(0)
    ensemble = Ensemble(config)
    for norm in (ensemble.norm_1, ensemble.norm_2):
        norm.running_mean.uniform_(0.0, 1.0)
        norm.running_var.uniform_(0.5, 2.0)
    return ensemble.eval().requires_grad_(False)


def random_maps(scale: int = 1) -> list[torch.Tensor]:
    """(1, C, h, h) in the descriptor's order, of an image 1 / scale as wide."""
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(1, channels, size // scale, size // scale, generator=generator)
        for _ in range(NUM_TIMESTEPS)
        for channels, size in BLOCKS
    ]


def our_path(ensemble: Ensemble, maps: list[torch.Tensor], size: int = SIZE) -> Label:
    """Project, then gather."""

    def label() -> torch.Tensor:
        with torch.inference_mode():
            return ensemble.label(maps, size).hard[0]

    return label


def paper_path(
    path: Path | None, ensemble: Ensemble, maps: list[torch.Tensor], size: int = SIZE
) -> Label | None:
    """The paper's own functions on the same weights, on the CPU."""
    if path is None:
        return None
    sys.path.insert(0, str(path))
    extractors = importlib.import_module("src.feature_extractors")
    classifier = importlib.import_module("src.pixel_classifier")
    # It asks for a GPU by name; here everything stays on the CPU.
    torch.Tensor.cuda = lambda self, *_: self
    models = [member(classifier, ensemble, k) for k in range(NUM_MEMBERS)]
    dim = ensemble.config.descriptor_dim
    arguments = {"dim": [size, size, dim], "upsample_mode": "bilinear"}

    def label() -> torch.Tensor:
        with torch.no_grad():
            features = extractors.collect_features(arguments, maps)
            rows = features.view(dim, -1).permute(1, 0)
            mask: torch.Tensor = classifier.predict_labels(models, rows, size=(size, size))[0]
        return mask

    return label


def member(module: Any, ensemble: Ensemble, k: int) -> nn.Module:
    """The k-th member as the paper's network."""
    config = ensemble.config
    made = module.pixel_classifier(len(config.class_names), config.descriptor_dim).eval()
    (h1, h2), layers = config.hidden, made.layers
    first, second = slice(k * h1, (k + 1) * h1), slice(k * h2, (k + 1) * h2)
    with torch.no_grad():
        layers[0].weight.copy_(ensemble.linear_1.weight[first])
        layers[0].bias.copy_(ensemble.linear_1.bias[first])
        for norm, ours, part in (
            (layers[2], ensemble.norm_1, first),
            (layers[5], ensemble.norm_2, second),
        ):
            for name in ("weight", "bias", "running_mean", "running_var"):
                getattr(norm, name).copy_(getattr(ours, name)[part])
        for layer, weight, bias in (
            (layers[3], ensemble.weight_2, ensemble.bias_2),
            (layers[6], ensemble.weight_3, ensemble.bias_3),
        ):
            layer.weight.copy_(weight[k].T)
            layer.bias.copy_(bias[k, 0])
    network: nn.Module = made
    return network


def memory_of(side: str, arguments: argparse.Namespace) -> float | None:
    """Peak MB of one side, in a process of its own."""
    if side == "paper" and arguments.ddpm_segmentation is None:
        return None
    command = [sys.executable, __file__, "--memory-of", side, "--threads", str(arguments.threads)]
    if arguments.ddpm_segmentation:
        command += ["--ddpm-segmentation", str(arguments.ddpm_segmentation)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    megabytes: float = json.loads(done.stdout.splitlines()[-1])
    return megabytes


def peak_megabytes(side: str, path: Path | None) -> float:
    """Beyond what the process holds before the image is labelled."""
    ensemble, maps = random_ensemble(), random_maps()

    def make(maps: list[torch.Tensor], size: int) -> Label:
        ours = our_path(ensemble, maps, size)
        return ours if side == "ours" else paper_path(path, ensemble, maps, size) or ours

    # What the libraries make once, at their first use, is no cost of an image.
    make(random_maps(scale=4), SIZE // 4)()
    before = memory("VmRSS")
    # A new high-water mark.
    Path("/proc/self/clear_refs").write_text("5")
    make(maps, SIZE)()
    return (memory("VmHWM") - before) / 1e6


def memory(name: str) -> int:
    """Bytes of this process, by the name that Linux gives them."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
