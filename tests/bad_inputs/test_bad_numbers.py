"""Numbers on the command line that are none, or that no machine can mean."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bad_inputs.cases import Case, case, table

COUNT = "must be a whole number >= 1 (such as 1000, 1e6, 10k)"
NO_COUNTS = [
    "0",
    "-1",
    "-0",
    "1.5",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "1e-1",
    "",
    " ",
    "abc",
    "1e6x",
    "0x10",
    "0b1",
    "1,000",
    "1 000",
    "10 k",
    "10K",
    "+5",
    "1__0_",
    "\u0661\u0662",
    "\uff11\uff12",
    "1e",
    "e5",
    "None",
    "true",
    "[1]",
    "1/2",
    "2**3",
    "1e15",
]


@pytest.mark.parametrize("count", NO_COUNTS)
def test_what_is_no_count_of_pairs_is_quoted(count: str, refused: Callable[..., None]) -> None:
    problem = "config: generate.num", COUNT, f"got {count.strip()!r}"
    refused(case(count, str, problem), "generate", "--dry-run", f"--num={count}")


def test_a_number_of_a_thousand_digits_is_refused_in_short(refused: Callable[..., None]) -> None:
    problem = "config: generate.num", COUNT, "999 ... 999"
    refused(case("long", str, problem), "generate", "--dry-run", f"--num={'9' * 5000}")


def flag(command: str, option: str, key: str, *words: str) -> Case:
    what, remedy = (*words, "")[:2]
    return case(f"{command} {option}", lambda _: [command, *option.split()], (key, what, remedy))


TOY_FIT = "--out=e --ddpm=toy --set data.labelled.num=2"
FLAGS = [
    flag("generate", "--samples-per-shard=0", "generate.samples_per_shard", COUNT),
    flag("generate", "--min-actors=-1", "generate.min_actors", COUNT),
    flag("generate", "--max-actors=1.5", "generate.max_actors", COUNT),
    flag("generate", "--min-actors=3 --max-actors=2", "generate.min_actors", "not be above"),
    flag("generate", "--seed=-1", "generate.seed", "greater than or equal to 0"),
    flag("generate", "--seed=1.5", "generate.seed", "integer"),
    flag("generate", "--seed=9223372036854775808", "generate.seed", "less than"),
    flag("generate", "--seed=" + "9" * 5000, "generate.seed", "integer"),
    flag("generate", "--format=tar", "generate.format", "'parquet' or 'webdataset'"),
    flag(
        "generate",
        "--num=1e9 --samples-per-shard=1",
        "samples_per_shard",
        "1,000,000 shards",
        "Raise",
    ),
    flag("generate", "--set generate.eta=2", "generate.eta", "less than or equal to 1"),
    flag("generate", "--set generate.eta=nan", "generate.eta", "'nan'"),
    flag(
        "generate",
        "--set generate.batch_size=autos",
        "generate.batch_size",
        COUNT,
        "or 'auto'",
    ),
    flag("generate", "--set generate.num_sampling_steps=1", "num_sampling_steps", "equal to 2"),
    flag("generate", "--set generate.gpus_per_actor=-1", "gpus_per_actor", "greater than"),
    flag(
        "generate",
        "--set generate.cpus_per_actor=200",
        "cpus_per_actor",
        "this machine has",
        "Lower",
    ),
    flag("generate", "--set generate.progress_seconds=0", "progress_seconds", "greater than 0"),
    flag("train", "--num-steps=0", "train.num_steps", COUNT),
    flag("train", "--batch-size=abc", "train.batch_size", COUNT),
    flag("train", "--num-workers=3", "train.batch_size", "must be divisible by"),
    flag("train", "--set train.learning_rate=nan", "train.learning_rate", "finite"),
    flag("train", "--set train.learning_rate=1e400", "train.learning_rate", "finite"),
    flag("train", "--set train.learning_rate=-1", "train.learning_rate", "greater than 0"),
    flag("train", "--set train.ema_decay=1", "train.ema_decay", "less than 1"),
    flag("train", "--set train.use_gpu=maybe", "train.use_gpu", "valid boolean", "'auto'"),
    flag("train", "--set data.image_size=30", "data.image_size", "must be divisible by 4"),
    flag("train", "--set data.image_size=1e9", "data.image_size", "less than or equal to 4096"),
    flag(
        "train",
        "--set train.unet.norm_num_groups=64",
        "train.unet.block_out_channels: 32",
        "divisible by",
    ),
    flag(
        "train",
        "--set train.unet.layers_per_block=1e9",
        "train.unet.layers_per_block",
        "less than or equal to 16",
    ),
    flag(
        "train",
        "--set train.unet.block_out_channels=[1e12,64]",
        "train.unet.block_out_channels.0",
        "less than or equal to 16384",
    ),
    flag(
        "train",
        "--set train.unet.block_out_channels=" + str([32] * 40).replace(" ", ""),
        "train.unet.block_out_channels",
        "at most 8 items",
    ),
    flag(
        "train",
        "--set train.diffusion.num_timesteps=1e12",
        "train.diffusion.num_timesteps",
        "less than or equal to 100000",
    ),
    flag("train", "--set train.diffusion.beta_end=1", "train.diffusion.beta_end", "below 1"),
    flag("fit", "--num-members=0", "fit.num_members", COUNT),
    flag("fit", "--num-members=1e9", "fit.num_members", "less than or equal to 1000"),
    flag("fit", "--set fit.hidden=[0,1]", "fit.hidden", COUNT),
    flag("fit", "--set fit.hidden=[1e9,1]", "fit.hidden.0", "less than or equal to 16384"),
    flag("fit", "--set fit.pixels_per_step=1", "pixels_per_step", "greater than or equal to 2"),
    flag(
        "fit",
        "--out=e --set data.labelled.num=1e12",
        "data.labelled.num",
        "GiB of memory, more than 64",
        "lower it",
    ),
    flag("fit", f"{TOY_FIT} --set fit.timesteps=[1000]", "fit.timesteps", "is not below"),
    flag("fit", "--set fit.timesteps=[]", "fit.timesteps", "at least one"),
    flag("fit", f"{TOY_FIT} --set fit.blocks=[9]", "fit.blocks", "the model's blocks are"),
    flag("evaluate", "--set evaluate.batch_size=0", "evaluate.batch_size", COUNT),
    flag("inspect", "--set data.unlabelled.num=0", "data.unlabelled.num", COUNT),
]


@table(FLAGS)
def test_a_bad_number_stops_its_command(case: Case, refused: Callable[..., None]) -> None:
    arguments = case.make(Path())
    assert isinstance(arguments, list)
    command, *options = arguments
    refused(case, command, "--dry-run", *options)
