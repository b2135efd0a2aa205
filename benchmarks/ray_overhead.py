"""`factory generate` with one actor against the same loop without Ray: start-up and steady state.

Both are processes of their own that make the same shards with the same threads. Steady state: from
the first receipt to the last one. Start-up: from the process' start to the first receipt, less the
seconds that the first shard took to make.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import measuring
from measuring import Row

if TYPE_CHECKING:
    from factory.generation.frozen_models import SampledBatch
    from factory.generation.synthesizer import Synthesizer
    from factory.shards.plan import ShardSpec

SHARDS = "_factory/shards"


@dataclass(frozen=True)
class Run:
    """One process, in seconds and pairs per second."""

    start_up: float
    rate: float
    total: float
    last_line: str
    """What it printed last."""


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser(__doc__ or "")
    arguments.add_argument("--shards", type=int, default=14)
    arguments.add_argument("--samples-per-shard", type=int, default=48)
    arguments.add_argument("--set", action="append", default=[], help="config keys, as a.b=c")
    arguments.add_argument("--loop", help=argparse.SUPPRESS)
    return arguments


def main() -> None:
    arguments = parser().parse_args()
    keys = [
        f"generate.num={arguments.shards * arguments.samples_per_shard}",
        f"generate.samples_per_shard={arguments.samples_per_shard}",
        f"generate.cpus_per_actor={max(1, arguments.threads - 1)}",
        "generate.max_actors=1",
        *arguments.set,
    ]
    if arguments.loop:
        loop(arguments.loop, keys)
        return
    runs: dict[str, list[Run]] = {"loop": [], "ray": []}
    for _ in range(arguments.runs):
        for side, done in runs.items():
            done.append(measured(side, keys, arguments))
    medians = {
        name: [statistics.median(getattr(run, name) for run in runs[side]) for side in runs]
        for name in ("rate", "start_up", "total")
    }
    rate, start_up, total = (medians[name] for name in ("rate", "start_up", "total"))
    rows = [
        Row("steady state, ours through Ray; other: without", rate[1], rate[0], "pairs/s",
            ">= 0.97x"),
        Row("start-up, ours through Ray; other: without", start_up[1], start_up[0], "s"),
        Row("the whole command", total[1], total[0], "s"),
    ]  # fmt: skip
    waits = statistics.median(float(run.last_line) for run in runs["loop"])
    rows.append(Row("sampling waits for encoding and storage", waits * 100, None, "%", "<= 1 %"))
    pairs = f"{arguments.shards} shards of {arguments.samples_per_shard} pairs"
    spread = ", ".join(
        f"{side} {min(r.rate for r in done):.2f} to {max(r.rate for r in done):.2f}"
        for side, done in runs.items()
    )
    notes = [
        f"{pairs} of the toy models, one actor; {arguments.runs} runs in turns, medians. "
        f"Spread in pairs/s: {spread}."
    ]
    measuring.report("Ray's cost", rows, arguments.json, notes)


def measured(side: str, keys: Sequence[str], arguments: argparse.Namespace) -> Run:
    """One run of one side in a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        options = [word for key in keys for word in ("--set", key)]
        if side == "ray":
            command = [sys.executable, "-m", "factory.cli", "generate", "--out", folder, *options]
        else:
            command = [
                sys.executable,
                __file__,
                "--loop",
                folder,
                "--threads",
                str(arguments.threads),
            ]
            command += [
                "--shards",
                str(arguments.shards),
                *(f"--set={key}" for key in arguments.set),
            ]
            command += ["--samples-per-shard", str(arguments.samples_per_shard)]
        started = time.time()
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        total = time.time() - started
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
        receipts = sorted(Path(folder, SHARDS).glob("*.json"), key=lambda p: p.stat().st_mtime)
        times = [receipt.stat().st_mtime for receipt in receipts]
        first = json.loads(receipts[0].read_text())["seconds"]
        pairs = arguments.samples_per_shard * (len(times) - 1)
        rate = pairs / (times[-1] - times[0])
        return Run(times[0] - started - first, rate, total, done.stdout.splitlines()[-1])


def loop(url: str, keys: Sequence[str]) -> None:
    """Does what one actor does, without Ray; prints in which share of the time none is sampled."""
    from factory.config import load_config, parse_override
    from factory.generation.command import generate
    from factory.generation.synthesizer import Synthesizer

    settings = [("generate.url", url), ("generate.workers", "here")]
    config = load_config(None, [*map(parse_override, keys), *settings])
    spans: list[tuple[float, float]] = []
    batches = Synthesizer.batches

    def timed(synthesizer: "Synthesizer", spec: "ShardSpec") -> "Iterator[SampledBatch]":
        begun = time.monotonic()
        yield from batches(synthesizer, spec)
        spans.append((begun, time.monotonic()))

    with patch.object(Synthesizer, "batches", timed):
        generate(config)
    sampling = sum(end - begun for begun, end in spans)
    print(1 - sampling / (spans[-1][1] - spans[0][0]))


if __name__ == "__main__":
    main()
