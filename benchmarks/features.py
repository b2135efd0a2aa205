"""Are maps read off the sampling pass as good as those of an extra pass over the finished image?

Two re-noised passes with different noise do not agree with each other either, so both are judged
against the consensus of 16 re-noised passes on the same images, each with noise of its own: the
class that most of the 16 soft votes have. `ours` is the trajectory, `other` one re-noised pass: as
`generate.feature_source: renoise` makes it, with the noise that the ensemble was fitted with; the
noise floor is one of the 16 against the consensus of the other 15.
"""

import argparse

import measuring
import torch
import torch.nn.functional as F
from measuring import Row

from factory.config import load_config
from factory.diffusion.noise import normal_noise
from factory.diffusion.schedule import linear_schedule
from factory.generation.recipe import Models, load_models, make_plan
from factory.generation.synthesizer import Synthesizer
from factory.images import to_signed
from factory.labeling.features import renoised_maps, shared_noise
from factory.precision import autocast

NUM_PASSES = 16


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser(__doc__ or "")
    arguments.add_argument("--ddpm", help="a model folder; absent: the embedded toy models")
    arguments.add_argument("--ensemble", help="its ensemble")
    arguments.add_argument("--images", type=int, default=64)
    measuring.add_set(arguments)
    return arguments


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    config = load_config(
        None,
        [
            ("models.ddpm_url", arguments.ddpm),
            ("models.ensemble_url", arguments.ensemble),
            ("generate.num", arguments.images),
            ("generate.samples_per_shard", arguments.images),
            ("generate.feature_source", "trajectory"),
            ("generate.gpus_per_actor", int(torch.cuda.is_available())),
            *arguments.set,
        ],
    )
    models = load_models(config)
    plan = make_plan(config, models)
    # Which moves the models to its device, where the passes are made, too.
    synthesizer = Synthesizer(models, plan)
    samples = list(synthesizer.samples(plan.shard(0)))
    trajectory = torch.stack([torch.from_numpy(sample.mask) for sample in samples])
    images = torch.stack([torch.from_numpy(sample.image) for sample in samples])
    x_0 = to_signed(images.permute(0, 3, 1, 2)).to(synthesizer.device)
    rows, notes = agreement(models, x_0, trajectory.to(synthesizer.device))
    recipe = plan.recipe
    notes.append(
        f"{arguments.images} images of {recipe['image_size']} px; sampled by {recipe['sampler']}, "
        f"eta {recipe['eta']}, {len(recipe['sampling_timesteps'])} passes, {recipe['precision']}."
    )
    measuring.report("Trajectory against re-noised features", rows, arguments.json, notes)


def agreement(
    models: Models, x_0: torch.Tensor, trajectory: torch.Tensor
) -> tuple[list[Row], list[str]]:
    """Rows over all pixels, and by class of the consensus."""
    num_classes = len(models.ensemble.config.class_names)
    learned = models.ensemble.config
    shape = (models.ddpm.channels, learned.image_size, learned.image_size)
    # A stream that nothing else draws from.
    noises = normal_noise(range(NUM_PASSES), shape, stream=2**32)
    passes = [renoised(models, x_0, noise) for noise in noises]
    votes = torch.stack([F.one_hot(p.long(), num_classes) for p in passes]).sum(0)
    consensus = votes.argmax(dim=-1)
    noise = shared_noise(learned.noise_seed, learned.image_size, models.ddpm.channels)
    single = renoised(models, x_0, noise)
    floor = torch.stack(
        [p == (votes - F.one_hot(p.long(), num_classes)).argmax(dim=-1) for p in passes]
    )
    share = percent(trajectory == consensus), percent(single == consensus)
    rows = [Row("all pixels", *share, "%", "ours >= other")]
    for i, name in enumerate(learned.class_names):
        of_class = consensus == i
        if of_class.any():
            ours, other = (percent((m == consensus)[of_class]) for m in (trajectory, single))
            rows.append(Row(f"where the consensus is {name}", ours, other, "%"))
    certainty = float(votes.max(dim=-1).values.float().mean()) / NUM_PASSES
    return rows, [
        f"Noise floor: one of the {NUM_PASSES} passes agrees with the consensus of the others on "
        f"{percent(floor):.2f} %. On average {certainty:.1%} of the passes have its class. "
        f"Trajectory against one re-noised pass: {percent(trajectory == single):.2f} %."
    ]


@torch.inference_mode()
def renoised(models: Models, x_0: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """(B, S, S) class ids by soft vote, from one re-noised pass a timestep."""
    learned, masks = models.ensemble.config, []
    for images in x_0.split(16):
        with autocast(False, images.device.type):
            maps = renoised_maps(
                models.ddpm.unet.features,
                linear_schedule(models.ddpm.diffusion),
                images,
                noise,
                learned.timesteps,
                learned.blocks,
            )
        masks.append(models.ensemble.label(maps, learned.image_size).soft)
    return torch.cat(masks)


def percent(equal: torch.Tensor) -> float:
    """Of True, 0..100."""
    return float(equal.double().mean()) * 100


if __name__ == "__main__":
    main()
