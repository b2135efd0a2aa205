"""Image/mask pairs per second, against the seed project's end-to-end script.

    python benchmarks/pairs.py --diffuseseg PATH

Ours is the factory's own path, from noise to the bytes of a shard: 10 passes of the network by
DPM-Solver++(2M), labels from the maps that sampling passes by. The seed's is its own code: 1000
passes, three more for the features, ten MLPs and a vote.
"""

import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from diffuseseg import EndToEnd, random_mlps, random_unet
from measuring import Row, absent, add_diffuseseg, alternating, parser, report

from factory import synthesis
from factory.classes import Classes
from factory.config import load_config
from factory.diffusion import importers
from factory.diffusion.checkpoints import Model, load_model
from factory.diffusion.process import linear_schedule
from factory.diffusion.unet import UNet
from factory.labeling.ensemble import Ensemble, EnsembleConfig, load_ensemble
from factory.labeling.features import default_blocks, descriptor_dim, renoised_maps
from factory.labeling.labels import label_maps
from factory.synthesis import Models, Synthesizer, make_plan

FACES = Path(__file__).parents[1] / "configs" / "faces64.yaml"
RANDOM = "0" * 64
SIZE = 64
MAPS = ((128, 16, 16), (64, 32, 32), (16, 64, 64))
"""Of the seed's network, at each timestep."""


def main() -> None:
    """Prints the table."""
    given = arguments()
    torch.set_num_threads(given.threads)
    models, seed = seed_models(given.diffuseseg)
    parts = [make(models, seed, given.runs) for make in (pass_row, maps_row, pixels_row)]
    rows, notes = [], []
    for name, shard, goal in (
        ("the seed's own network and ten MLPs", Shard(models, given.pairs), ">= 250x"),
        ("our 64 px face network, ten members", Shard(face_models(given), given.faces), ">= 1000x"),
    ):
        ours, steps = alternating(
            shard.make, partial(seed.sample, given.steps) if seed else None, given.runs
        )
        theirs = None
        if steps is not None:
            theirs = 1 / (steps / given.steps * seed.num_timesteps + parts[-1].other)
        rows.append(Row(f"pairs/s, {name}", shard.num / ours, theirs, "pairs/s", goal))
        notes.append(f"{name}: {shard.told()}")
    report("Image/mask pairs, 64 px", rows + parts, given.json, notes + how(given))


def arguments() -> Namespace:
    """The command line's."""
    known = parser(__doc__.partition("\n")[0])
    add_diffuseseg(known)
    known.add_argument("--ddpm", help="model folder of our face network; absent: random")
    known.add_argument("--ensemble", help="its ensemble's folder")
    known.add_argument("--pairs", type=int, default=4, help="of a shard, the seed's network")
    known.add_argument("--faces", type=int, default=64, help="of a shard, our face network")
    known.add_argument("--steps", type=int, default=4, help="timed steps of the seed's, each run")
    given = known.parse_args()
    if bool(given.ddpm) != bool(given.ensemble):
        known.error("--ddpm and --ensemble belong together")
    if given.diffuseseg is None:
        absent("DiffuseSeg's own code", "--diffuseseg")
    return given


def how(given: Namespace) -> list[str]:
    """What was scaled, and what is random."""
    notes = []
    if given.diffuseseg is not None:
        notes.append(
            "The seed's pair: the last steps of its `sample`, which all cost the same, timed "
            f"{given.steps} at a time and scaled to 1000, and its `run_inference_on_img` in full; "
            f"medians of {given.runs}. Its progress bar and its figure are left out; batch 1 and "
            "float32 are its own. Ours ends with the shard's bytes."
        )
    random = "both networks" if not (given.ddpm and given.ensemble) else "the seed's network"
    notes.append(
        f"Weights of {random} and of the members are random: time does not depend on them."
    )
    return notes


class Shard:
    """A shard of so many pairs, made again and again."""

    def __init__(self, models: Models, num: int) -> None:
        config = load_config(
            None,
            [
                ("generate.num", num),
                ("generate.samples_per_shard", num),
                ("generate.sampler", "dpm_solver"),
                ("generate.num_sampling_steps", 10),
                ("features.source", "trajectory"),
            ],
        )
        self.num = num
        self.plan = make_plan(config, models)
        self.synthesizer = Synthesizer(models, self.plan)

    def make(self) -> bytes:
        """Its bytes, as they would be written."""
        return self.plan.encode(list(self.synthesizer.samples(self.plan.shard(0))))

    def told(self) -> str:
        """How it is made, and where the time of one more goes."""
        network, labels = Stopwatch(self.synthesizer.network), Stopwatch(synthesis.label_maps)
        self.synthesizer.network = network
        with patch.object(synthesis, "label_maps", labels):
            whole = Stopwatch(self.make)
            whole()
        self.synthesizer.network = network.work
        rest = whole.seconds - network.seconds - labels.seconds
        shares = " / ".join(
            f"{name} {seconds / self.num * 1000:.1f} ms"
            for name, seconds in (
                ("network", network.seconds),
                ("labels", labels.seconds),
                ("noise, solver, PNG and Parquet", rest),
            )
        )
        recipe = self.plan.recipe
        return (
            f"a pair takes {shares}; {self.num} pairs a shard, batches of {recipe['batch_size']}, "
            f"{recipe['precision']}, timesteps {recipe['sampling_timesteps']}."
        )


class Stopwatch:
    """A function, and the seconds spent in it."""

    def __init__(self, work: Callable[..., Any]) -> None:
        self.work = work
        self.seconds = 0.0

    def __call__(self, *arguments: Any) -> Any:
        started = time.perf_counter()
        result = self.work(*arguments)
        self.seconds += time.perf_counter() - started
        return result


def seed_models(path: Path | None) -> tuple[Models, EndToEnd | None]:
    """The seed's network and MLPs, random, through our importers; and in its own code."""
    torch.manual_seed(0)
    ensemble = random_ensemble(
        importers.DIFFUSESEG_CLASSES,
        timesteps=importers.TIMESTEPS,
        blocks=importers.BLOCKS,
        descriptor_dim=importers.DESCRIPTOR_DIM,
        num_members=importers.NUM_MEMBERS,
        hidden=importers.HIDDEN,
    )
    seed, unet = None, importers.DiffuseSegUNet(importers.Shape())
    with tempfile.TemporaryDirectory() as folder:
        if path is not None:
            seed = EndToEnd(path, random_unet(path, seed=0), random_mlps(path, seed=1))
            unet = seed.unet
            files = [f"{folder}/mlp_{i}_best.pt" for i in range(1, importers.NUM_MEMBERS + 1)]
            for mlp, file in zip(seed.mlps, files, strict=True):
                torch.save(mlp.state_dict(), file)
            ensemble.load_state_dict(importers.load_diffuseseg_mlps(files))
        torch.save(unet.state_dict(), f"{folder}/unet.pth")
        model = importers.load_diffuseseg_unet(f"{folder}/unet.pth")
    return Models(model, ensemble, RANDOM), seed


def face_models(given: Namespace) -> Models:
    """The models of configs/faces64.yaml; random ones of their shape where none are given."""
    if given.ddpm and given.ensemble:
        model = load_model(given.ddpm)
        return Models(model, *load_ensemble(given.ensemble, model.model_hash))
    config = load_config(str(FACES))
    torch.manual_seed(0)
    unet = UNet(config.unet).eval().requires_grad_(False)
    timesteps, blocks = config.features.timesteps, default_blocks(config.unet)
    ensemble = random_ensemble(
        Classes.named([f"class {i}" for i in range(19)]),
        timesteps=timesteps,
        blocks=blocks,
        descriptor_dim=descriptor_dim(config.unet, timesteps, blocks),
        num_members=config.ensemble.num_members,
        hidden=config.ensemble.hidden,
    )
    return Models(Model(unet, config.diffusion, SIZE, RANDOM), ensemble, RANDOM)


def random_ensemble(classes: Classes, **shape: Any) -> Ensemble:
    """An ensemble of random weights, in eval mode."""
    named = {"class_names": classes.names, "palette": classes.palette, "image_size": SIZE}
    config = EnsembleConfig(**named, noise_seed=0, ddpm_hash=RANDOM, **shape)
    return Ensemble(config).eval().requires_grad_(False)


def pass_row(models: Models, seed: EndToEnd | None, runs: int) -> Row:
    """A pass of the seed's network; both sides have the same weights, and the same output."""
    x_t, t = torch.randn(1, 3, SIZE, SIZE), torch.tensor([500])
    ours = partial(without_grad, models.ddpm.unet, x_t, t)
    theirs = partial(without_grad, seed.unet, x_t, t) if seed else None
    if theirs is not None:
        gap = float((ours() - theirs()).abs().max())
        assert gap < 1e-4, f"the two networks differ by {gap}"
    return Row("a pass of the seed's network, 1 image, fp32", *alternating(ours, theirs, runs), "s")


def maps_row(models: Models, seed: EndToEnd | None, runs: int) -> Row:
    """Labels of an image whose maps are at hand: ours native, the seed's upsampled already."""
    timesteps = importers.TIMESTEPS
    maps = [torch.randn(1, *shape) for _ in timesteps for shape in MAPS]
    ours = partial(without_grad, label_maps, models.ensemble, maps, SIZE)
    theirs = None
    if seed is not None:
        upsampled = torch.randn(1, sum(channels for channels, _, _ in MAPS), SIZE, SIZE)
        theirs = partial(seed.label, seed.sample(0), lambda x_t, t: upsampled)
    return Row("labels of 1 image from its maps", *alternating(ours, theirs, runs), "s")


def pixels_row(models: Models, seed: EndToEnd | None, runs: int) -> Row:
    """Labels of an image from its pixels: three passes, ten members, the vote."""
    learned, schedule = models.ensemble.config, linear_schedule(models.ddpm.diffusion)
    x_0, noise = torch.zeros(1, 3, SIZE, SIZE), torch.randn(3, SIZE, SIZE)

    def ours() -> None:
        maps = renoised_maps(
            models.ddpm.unet, schedule, x_0, noise, learned.timesteps, learned.blocks
        )
        label_maps(models.ensemble, maps, SIZE)

    theirs = partial(seed.label, seed.sample(0)) if seed else None
    times = alternating(partial(without_grad, ours), theirs, runs)
    return Row("labels of 1 image from its pixels, fp32", *times, "s")


@torch.inference_mode()
def without_grad(work: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns, computed as for inference."""
    return work(*arguments)


if __name__ == "__main__":
    main()
