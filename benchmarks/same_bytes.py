"""Are shards that are made twice on this machine's device the same bytes?

Without Ray. The first time one process makes all shards, the second time two processes at once make
every other one, as two actors would. Each compiles for itself: a kernel that is chosen by timing
would be chosen anew, by a quiet GPU the first time, by a busy one the second.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence

import measuring
import torch
from measuring import Row

from factory.config import dump_config, load_config
from factory.generation import local
from factory.generation.recipe import load_models, make_plan
from factory.shards.ledger import Ledger
from factory.shards.reading import read_receipts
from factory.values import TOY


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser(__doc__ or "")
    arguments.set_defaults(threads=1)
    arguments.add_argument("--ddpm", help="a model folder; absent: the embedded toy models")
    arguments.add_argument("--ensemble", help="its ensemble")
    arguments.add_argument("--shards", type=int, default=4)
    arguments.add_argument("--samples-per-shard", type=int, default=64)
    measuring.add_set(arguments)
    arguments.add_argument("--into", help=argparse.SUPPRESS)
    arguments.add_argument("--make", type=int, nargs="+", help=argparse.SUPPRESS)
    return arguments


def main() -> None:
    arguments = parser().parse_args()
    if arguments.make is not None:
        make(arguments)
        return
    numbers = range(arguments.shards)
    first = hashes([numbers])
    second = hashes([numbers[0::2], numbers[1::2]] if arguments.shards > 1 else [numbers])
    equal = sum(first[number] == second[number] for number in numbers)
    processor = "GPU" if torch.cuda.is_available() else "CPU"
    measuring.report(
        "Bytes of shards made twice",
        [Row("shards of the same bytes", 100 * equal / arguments.shards, None, "%", "100 %")],
        arguments.json,
        [
            f"{arguments.shards} shards of {arguments.samples_per_shard} pairs on the {processor}: "
            "first by one process, then by two at once."
        ],
    )


def hashes(parts: Sequence[Sequence[int]]) -> dict[int, str]:
    """sha256 of each shard; a process for each part makes its shards, all at once."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = f"{folder}/dataset"
        command = [sys.executable, __file__, *sys.argv[1:], "--into", dataset, "--make"]
        processes = [
            subprocess.Popen(
                [*command, *map(str, part)],
                env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": f"{folder}/{number}"},
            )
            for number, part in enumerate(parts)
        ]
        for process, part in zip(processes, parts, strict=True):
            if process.wait():
                sys.exit(f"a process that made shards {list(part)} failed")
        return {shard: receipt.sha256 for shard, receipt in read_receipts(dataset).items()}


def make(arguments: argparse.Namespace) -> None:
    """Makes some shards of a dataset, as `factory generate --workers here` does."""
    keys = {
        "models.ddpm_url": arguments.ddpm or TOY,
        "models.ensemble_url": arguments.ensemble or TOY,
        "generate.url": arguments.into,
        "generate.num": arguments.shards * arguments.samples_per_shard,
        "generate.samples_per_shard": arguments.samples_per_shard,
        "generate.cpus_per_actor": arguments.threads,
        "generate.gpus_per_actor": int(torch.cuda.is_available()),
    }
    config = load_config(None, [*keys.items(), *arguments.set])
    plan = make_plan(config, load_models(config))
    Ledger(arguments.into, plan).start(dump_config(config), {})
    local.make_shards(config, plan, arguments.make)


if __name__ == "__main__":
    main()
