"""What scheduling costs: shards that do nothing, through the driver, the dispatcher and actors.

For each number of planned shards a driver of its own decides what is pending, starts the pool, and
lets the actors run for some seconds. Nothing is sampled and nothing is written. Reported are the
driver's and the coordinator's memory at their highest, the time until the first shard is begun, and
shards a second between the first look at which one was finished and the last.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import measuring
from measuring import Row

from factory.generation.job import Attempt, Limits, Outcome


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser(__doc__ or "")
    arguments.add_argument(
        "--shards", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000]
    )
    arguments.add_argument("--actors", type=int, default=2)
    arguments.add_argument("--seconds", type=float, default=30.0, help="of work, for each number")
    arguments.add_argument("--driver", help=argparse.SUPPRESS)
    return arguments


def main() -> None:
    arguments = parser().parse_args()
    if arguments.driver:
        print(
            json.dumps(
                drive(arguments.driver, arguments.shards[0], arguments.actors, arguments.seconds)
            )
        )
        return
    with measuring.reporting("Scheduling", arguments.json) as (rows, notes):
        notes.append(f"{arguments.actors} actors; medians of {arguments.runs} drivers each.")
        for num_shards in arguments.shards:
            rows += rows_of(num_shards, arguments)


def rows_of(num_shards: int, arguments: argparse.Namespace) -> list[Row]:
    """Medians over the runs of one number of shards."""
    runs = [run(num_shards, arguments) for _ in range(arguments.runs)]
    middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    count = f"{num_shards:,} shards: "
    return [
        Row(count + "driver's memory", middle["driver"], None, "MB"),
        Row(count + "coordinator's memory", middle["coordinator"], None, "MB"),
        Row(count + "first one begun after the start", middle["first"], None, "s"),
        Row(count + "first one begun after the actors were ready", middle["ready"], None, "s",
            "<= 10 s"),
        Row(count + "rate", middle["rate"], None, "shards/s", ">= 500 shards/s"),
    ]  # fmt: skip


def run(num_shards: int, arguments: argparse.Namespace) -> dict[str, float]:
    """What a driver in a process of its own measured."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--driver", folder, "--shards", str(num_shards)]
        command += ["--actors", str(arguments.actors), "--seconds", str(arguments.seconds)]
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
        measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return measured


class DoesNothing:
    """Makes no shard, and says so."""

    def __init__(self, folder: str, dispatcher: Any) -> None:
        self.dispatcher = dispatcher
        self.note = Path(folder, f"{os.getpid()}.json")
        self.ready, self.begun = time.time(), 0.0

    def make(self, attempt: Attempt) -> Outcome:
        if not self.begun:
            self.begun = time.time()
            self.note.write_text(json.dumps([self.ready, self.begun]))
        self.dispatcher.record_start.remote(attempt.number)
        return Outcome(attempt.number, 1, 0.01)


def drive(folder: str, num_shards: int, num_actors: int, seconds: float) -> dict[str, float]:
    """What `generate` does between its checks and the end, with actors that do nothing."""
    from factory import cluster
    from factory.generation import pool
    from factory.generation.shard_maker import NUM_SLOTS
    from factory.shards.ledger import Ledger
    from factory.shards.plan import Plan

    url = str(Path(folder, "dataset"))
    plan = Plan(
        num=num_shards,
        samples_per_shard=1,
        format="parquet",
        class_names=("a", "b"),
        palette=((0, 0, 0), (255, 0, 0)),
        recipe={"seed": 0},
    )
    cluster.connect()
    started = time.time()
    ledger = Ledger(url, plan)
    ledger.start("{}\n", {})
    size = pool.PoolSize(num_actors, NUM_SLOTS, 1.0, 0.0)
    looks: list[tuple[float, int]] = []
    work = pool.Work(partial(DoesNothing, folder), ())
    shards = ledger.pending()
    with closing(pool.make(shards, Limits(1, 1, 100), work, size)) as made:
        for progress in made:
            looks.append((time.time(), progress.num_shards))
            if not progress.is_complete:
                memory = peak_mb(os.getpid()), peak_mb(coordinator())
            begun = [when for when, count in looks if count]
            if begun and time.time() - begun[0] > seconds:
                break
    return {
        **summed_up(Path(folder), looks, started),
        "driver": memory[0],
        "coordinator": memory[1],
    }


def summed_up(folder: Path, looks: Sequence[tuple[float, int]], started: float) -> dict[str, float]:
    """Of what the actors noted and the driver saw."""
    notes = [json.loads(note.read_text()) for note in folder.glob("*.json")]
    first = min(begun for _, begun in notes)
    (begin, before), (end, after) = next(look for look in looks if look[1]), looks[-1]
    rate = (after - before) / (end - begin) if end > begin else after / (end - first)
    ready = first - min(ready for ready, _ in notes)
    return {"first": first - started, "ready": ready, "rate": rate}


def coordinator() -> int:
    """The process that has the dispatcher."""
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        if status.read_bytes().startswith(b"ray::Coordinator"):
            return int(status.parent.name)
    raise LookupError("no process is called ray::Coordinator")


def peak_mb(process: int) -> float:
    """The most memory that a process ever had."""
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    [line] = [line for line in status if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1e3


if __name__ == "__main__":
    main()
