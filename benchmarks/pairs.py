"""Image/mask pairs per second, against DiffuseSeg's end-to-end script.

    python benchmarks/pairs.py --diffuseseg PATH

Ours is the factory's own path, from noise to the bytes of a shard. Both networks are measured with
the fewest passes, 10 by DPM-Solver++(2M), labels from the maps that sampling passes by; and as
`generate` samples when nothing is set, 20 passes of SDE-DPM-Solver++(2M) and re-noised ones for
the labels, which meets the quality guard of `solver.py`. Our face network also with 50 passes of
that. DiffuseSeg's is its own code: 1000 passes, three more for the features, ten MLPs and a vote.
"""

import argparse
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import measuring
import torch
import torch.nn.functional as F
from diffuseseg import EndToEnd, random_mlps, random_unet
from measuring import Row, absent, alternating, report

from factory.classes import Classes
from factory.config import load_config
from factory.diffusion.checkpoints import Model, load_model
from factory.diffusion.families.diffuseseg import DiffuseSegUNet, Shape
from factory.diffusion.families.unet2d import UNet
from factory.diffusion.network import descriptor_dim
from factory.diffusion.schedule import linear_schedule
from factory.generation import frozen_models
from factory.generation.recipe import Models, make_plan
from factory.generation.synthesizer import Synthesizer
from factory.importing import import_weights
from factory.labeling import diffuseseg_mlps, ensemble
from factory.labeling.ensemble import Ensemble, EnsembleConfig
from factory.labeling.features import renoised_maps
from factory.labeling.heads import load_head
from factory.labeling.labels import View, label_maps

FACES = Path(__file__).parents[1] / "configs" / "faces64.yaml"
RANDOM = "0" * 64
SIZE = 64
MAPS = ((128, 16, 16), (64, 32, 32), (16, 64, 64))
"""Of DiffuseSeg's network, at each timestep."""
FEWEST_PASSES: dict[str, Any] = {
    "generate.sampler": "dpm_solver",
    "generate.num_sampling_steps": 10,
    "generate.feature_source": "trajectory",
}
MORE_PASSES = {"generate.num_sampling_steps": 50}


def main() -> None:
    """Prints the table."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    models, other = diffuseseg_models(arguments.diffuseseg)
    parts = [make(models, other, arguments.runs) for make in (pass_row, maps_row, pixels_row)]
    notes = how(arguments)
    if other is not None:
        row, note = alike(models, other)
        parts, notes = [*parts, row], [*notes, note]
    rows, descriptions = [], []
    for name, shard, goal in shards(models, arguments):
        ours, steps = alternating(
            shard.make, partial(other.sample, arguments.steps) if other else None, arguments.runs
        )
        theirs = None
        if steps is not None:
            theirs = 1 / (steps / arguments.steps * other.num_timesteps + parts[2].other)
        rows.append(Row(f"pairs/s, {name}", shard.num / ours, theirs, "pairs/s", goal))
        descriptions.append(f"{name}: {shard.description()}")
    report("Image/mask pairs, 64 px", rows + parts, arguments.json, descriptions + notes)


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    known = measuring.parser(__doc__.partition("\n")[0])
    measuring.add_diffuseseg(known)
    known.add_argument("--ddpm", help="model folder of our face network; absent: random")
    known.add_argument("--ensemble", help="its ensemble's folder")
    known.add_argument("--pairs", type=int, default=4, help="of a shard, DiffuseSeg's network")
    known.add_argument(
        "--faces", type=int, default=64, help="of a shard, our face network; fewer at more passes"
    )
    known.add_argument("--steps", type=int, default=4, help="timed steps of DiffuseSeg's, each run")
    return known


def parse_arguments() -> Namespace:
    """The command line's, checked."""
    known = parser()
    arguments = known.parse_args()
    if bool(arguments.ddpm) != bool(arguments.ensemble):
        known.error("--ddpm and --ensemble belong together")
    if arguments.diffuseseg is None:
        absent("DiffuseSeg's own code", "--diffuseseg")
    return arguments


def how(arguments: Namespace) -> list[str]:
    """What was scaled, and what is random."""
    notes = []
    if arguments.diffuseseg is not None:
        notes.append(
            "DiffuseSeg's pair: the last steps of its `sample`, which all cost the same, timed "
            f"{arguments.steps} at a time and scaled to 1000, and its `run_inference_on_img` in "
            f"full; medians of {arguments.runs}. Its progress bar and its figure are left out; "
            "batch 1 and float32 are its own. Ours ends with the shard's bytes."
        )
    random = (
        "both networks" if not (arguments.ddpm and arguments.ensemble) else "DiffuseSeg's network"
    )
    notes.append(
        f"Weights of {random} and of the members are random: time does not depend on them."
    )
    return notes


def shards(models: Models, arguments: Namespace) -> Iterator[tuple[str, "Shard", str]]:
    """What is made, its name and goal; as many faces as take about as long at every setting."""
    shipped = "as shipped (20 passes)"
    for name, num, keys in (
        ("10 passes", arguments.pairs, FEWEST_PASSES),
        (shipped, max(1, arguments.pairs // 2), {}),
    ):
        shard = Shard(models, num, keys)
        yield f"DiffuseSeg's own network and ten MLPs, {name}", shard, ">= 250x"
    faces = face_models(arguments.ddpm, arguments.ensemble)
    for name, passes, keys in (
        ("10 passes", 10, FEWEST_PASSES),
        (shipped, 20, {}),
        ("50 passes", 50, MORE_PASSES),
    ):
        shard = Shard(faces, max(1, arguments.faces * 10 // passes), keys)
        yield f"our 64 px face network, ten members, {name}", shard, ">= 1000x"


class Shard:
    """A shard of so many pairs, made again and again; keys: of the config, over the defaults."""

    def __init__(self, models: Models, num: int, keys: Mapping[str, Any]) -> None:
        size = {"generate.num": num, "generate.samples_per_shard": num}
        config = load_config(None, [*size.items(), *keys.items()])
        self.num = num
        self.plan = make_plan(config, models)
        self.synthesizer = Synthesizer(models, self.plan)

    def make(self) -> bytes:
        """Its bytes, as they would be written."""
        return self.plan.encode(list(self.synthesizer.samples(self.plan.shard(0))))

    def description(self) -> str:
        """How it is made, and where the time of one more goes."""
        network, whole = Stopwatch(self.synthesizer.network), Stopwatch(self.make)
        renoised, labels = Stopwatch(renoised_maps), Stopwatch(label_maps)
        with (
            patch.object(self.synthesizer, "network", network),
            patch.object(frozen_models, "renoised_maps", renoised),
            patch.object(ensemble, "label_maps", labels),
        ):
            whole()
        rest = whole.seconds - network.seconds - renoised.seconds - labels.seconds
        shares = " / ".join(
            f"{name} {seconds / self.num * 1000:.1f} ms"
            for name, seconds in (
                ("network", network.seconds),
                ("re-noised maps", renoised.seconds),
                ("labels", labels.seconds),
                ("noise, solver, PNG and Parquet", rest),
            )
        )
        recipe = self.plan.recipe
        return (
            f"a pair takes {shares}; {self.num} pairs a shard, batches of {recipe['batch_size']}, "
            f"{recipe['sampler']}, {recipe['precision']}, maps: {recipe['feature_source']}, "
            f"timesteps {recipe['sampling_timesteps']}."
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


def diffuseseg_models(path: Path | None) -> tuple[Models, EndToEnd | None]:
    """DiffuseSeg's network and MLPs, random, through our importers; and in its own code."""
    torch.manual_seed(0)
    ensemble = random_ensemble(
        diffuseseg_mlps.CLASSES,
        timesteps=diffuseseg_mlps.TIMESTEPS,
        blocks=diffuseseg_mlps.BLOCKS,
        descriptor_dim=diffuseseg_mlps.DESCRIPTOR_DIM,
        num_members=diffuseseg_mlps.NUM_MEMBERS,
        hidden=diffuseseg_mlps.HIDDEN,
    )
    other: EndToEnd | None = None
    unet = DiffuseSegUNet(Shape())
    with tempfile.TemporaryDirectory() as folder:
        if path is not None:
            other = EndToEnd(path, random_unet(path, seed=0), random_mlps(path, seed=1))
            unet = cast(DiffuseSegUNet, other.unet)
            files = [f"{folder}/{name}" for name in diffuseseg_mlps.FILES]
            for mlp, file in zip(other.mlps, files, strict=True):
                torch.save(mlp.state_dict(), file)
            ensemble.load_state_dict(diffuseseg_mlps.load_mlps(files))
        torch.save(unet.state_dict(), f"{folder}/unet.pth")
        url = import_weights(f"{folder}/unet.pth", f"{folder}/ddpm", None)
        model = load_model(url)
    return Models(model, ensemble, RANDOM), other


def face_models(ddpm_url: str | None, ensemble_url: str | None) -> Models:
    """The models of configs/faces64.yaml; random ones of their shape where none are given."""
    if ddpm_url and ensemble_url:
        model = load_model(ddpm_url)
        return Models(model, *load_head(ensemble_url, model.model_hash))
    config = load_config(str(FACES))
    torch.manual_seed(0)
    unet = UNet(config.train.unet).eval().requires_grad_(False)
    timesteps, blocks = config.fit.timesteps, unet.default_blocks
    ensemble = random_ensemble(
        Classes.named([f"class {i}" for i in range(19)]),
        timesteps=timesteps,
        blocks=blocks,
        descriptor_dim=descriptor_dim(unet, timesteps, blocks),
        num_members=config.fit.num_members,
        hidden=config.fit.hidden,
    )
    return Models(Model(unet, config.train.diffusion, SIZE, RANDOM), ensemble, RANDOM)


def random_ensemble(classes: Classes, **shape: Any) -> Ensemble:
    """An ensemble of random weights, in eval mode."""
    config = EnsembleConfig(
        class_names=classes.names,
        palette=classes.palette,
        image_size=SIZE,
        noise_seed=0,
        ddpm_hash=RANDOM,
        **shape,
    )
    return Ensemble(config).eval().requires_grad_(False)


def pass_row(models: Models, other: EndToEnd | None, runs: int) -> Row:
    """A pass of DiffuseSeg's network; both sides have the same weights, and the same output."""
    x_t, t = torch.randn(1, 3, SIZE, SIZE), torch.tensor([500])
    ours = partial(without_grad, models.ddpm.unet, x_t, t)
    theirs = partial(without_grad, other.unet, x_t, t) if other else None
    if theirs is not None:
        gap = float((ours() - theirs()).abs().max())
        assert gap < 1e-4, f"the two networks differ by {gap}"
    return Row(
        "a pass of DiffuseSeg's network, 1 image, fp32", *alternating(ours, theirs, runs), "s"
    )


def maps_row(models: Models, other: EndToEnd | None, runs: int) -> Row:
    """Labels of an image whose maps are at hand: ours native, DiffuseSeg's upsampled already."""
    maps = random_maps()
    ours = partial(without_grad, label_maps, models.ensemble, [View(maps)], SIZE)
    theirs = None
    if other is not None:
        upsampled = upsampled_maps(maps)
        theirs = partial(other.label, other.sample(0), lambda x_t, t: upsampled[int(t)])
    return Row("labels of 1 image from its maps", *alternating(ours, theirs, runs), "s")


def alike(models: Models, other: EndToEnd) -> tuple[Row, str]:
    """Whether both sides say the same of the same maps."""
    maps = random_maps()
    upsampled = upsampled_maps(maps)
    ours = without_grad(label_maps, models.ensemble, [View(maps)], SIZE).hard[0]
    theirs = other.label(other.sample(0), lambda x_t, t: upsampled[int(t)])
    descriptors = torch.cat([*upsampled.values()], dim=1)[0].flatten(1).T
    logits = without_grad(cast(Ensemble, models.ensemble), descriptors)
    gap = logits - torch.stack([without_grad(mlp, descriptors) for mlp in other.mlps])
    votes = F.one_hot(logits.argmax(dim=-1), logits.shape[-1]).sum(dim=0)
    most = votes.topk(2, dim=1).values
    clear = (most[:, 0] > most[:, 1]).view(SIZE, SIZE)
    tied = (votes.gather(1, theirs.view(-1, 1))[:, 0] == most[:, 0]).view(SIZE, SIZE)
    share = float((ours == theirs)[clear].double().mean()) * 100
    return Row("pixels of the same class, same maps, no tie", share, None, "%", "100 %"), (
        f"On the same maps the ten MLPs' logits differ by at most {float(gap.abs().max()):.1g}. "
        f"The majority is clear on {float(clear.double().mean()):.0%} of the pixels; on the others "
        "ours takes the smallest class id, DiffuseSeg the class named first, which is one of the "
        f"most named on {float(tied[~clear].double().mean()):.2%} of them, too."
    )


def random_maps() -> list[torch.Tensor]:
    """Of one image, in the descriptor's order; in quarters.

    So DiffuseSeg's rounding of upsampled features to half precision changes nothing.
    """
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(-12, 13, (1, *shape), generator=generator) / 4
        for _ in diffuseseg_mlps.TIMESTEPS
        for shape in MAPS
    ]


def upsampled_maps(maps: list[torch.Tensor]) -> dict[int, torch.Tensor]:
    """{timestep: (1, C, S, S)}, as DiffuseSeg's feature extractor gives them."""
    full = [F.interpolate(m, (SIZE, SIZE), mode="bilinear", align_corners=False) for m in maps]
    num = len(MAPS)
    return {
        t: torch.cat(full[i * num : (i + 1) * num], dim=1)
        for i, t in enumerate(diffuseseg_mlps.TIMESTEPS)
    }


def pixels_row(models: Models, other: EndToEnd | None, runs: int) -> Row:
    """Labels of an image from its pixels: three passes, ten members, the vote."""
    learned, schedule = models.ensemble.config, linear_schedule(models.ddpm.diffusion)
    x_0, noise = torch.zeros(1, 3, SIZE, SIZE), torch.randn(3, SIZE, SIZE)

    def ours() -> None:
        maps = renoised_maps(
            models.ddpm.unet.features, schedule, x_0, noise, learned.timesteps, learned.blocks
        )
        models.ensemble.label(maps, SIZE)

    theirs = partial(other.label, other.sample(0)) if other else None
    times = alternating(partial(without_grad, ours), theirs, runs)
    return Row("labels of 1 image from its pixels, fp32", *times, "s")


@torch.inference_mode()
def without_grad(work: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns, computed as for inference."""
    return work(*arguments)


if __name__ == "__main__":
    main()
