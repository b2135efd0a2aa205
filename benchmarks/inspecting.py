"""The seconds and the memory that `factory inspect` takes of many images, in each of their forms.

Makes 64 to 256 px images with masks, and inspects them at 64 px: few and all of them. Each
run is a process of its own. Processor time divided by the number of cores is what a quiet machine
would need at least.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import annotated_images
import measuring
from measuring import Row

ROOT = Path(__file__).parents[1]
_MEASURE = """
import json, os, sys, time
started = time.perf_counter()
process = os.spawnv(os.P_NOWAIT, sys.argv[2], sys.argv[2:])
_, status, used = os.wait4(process, 0)
seconds = time.perf_counter() - started
with open(sys.argv[1], "w") as file:
    json.dump([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**10], file)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Runs a command and writes what it took to a file. The memory that a process is told to have had
at most is no less than that of the process that started it, so that a small one starts it."""


@dataclass(frozen=True)
class Run:
    """A run of the command."""

    seconds: float
    processor_seconds: float
    memory: float
    """MiB at most, of the process that had most."""
    output: bytes


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser(__doc__ or "")
    arguments.add_argument("--images", type=int, default=30_000)
    arguments.add_argument("--few", type=int, default=3_000, help="of the run to compare with")
    arguments.add_argument("--kinds", nargs="+", choices=annotated_images.KINDS, metavar="KIND",
                           default=annotated_images.KINDS)  # fmt: skip
    arguments.add_argument(
        "--folder", type=Path, help="keep the images here, and use those that are there"
    )
    arguments.add_argument(
        "--other", type=Path, metavar="PATH", help="a checkout of another version to compare with"
    )
    return arguments


def main() -> None:
    arguments = parser().parse_args()
    with (
        measuring.reporting("Inspecting", arguments.json) as (rows, notes),
        tempfile.TemporaryDirectory() as temporary,
    ):
        for num in dict.fromkeys((arguments.few, arguments.images)):
            folder = (arguments.folder or Path(temporary)).absolute() / str(num)
            annotated_images.make(folder, num, arguments.threads)
            for kind in arguments.kinds:
                compare(folder, kind, num, arguments.runs, arguments.other, rows, notes)


def compare(
    folder: Path,
    kind: str,
    num: int,
    runs: int,
    other: Path | None,
    rows: list[Row],
    notes: list[str],
) -> None:
    """Adds rows on one form of so many images, and a note if both versions do not say the same."""
    mine, theirs = [], []
    for _ in range(runs):
        mine.append(inspected(ROOT, folder, kind))
        if other is not None:
            theirs.append(inspected(other, folder, kind))
    for what, unit in (("seconds", "s"), ("processor_seconds", "s"), ("memory", "MiB")):
        ours, others = ([getattr(run, what) for run in some] for some in (mine, theirs))
        words = {"memory": "memory of a process"}.get(what, what.replace("_", " "))
        name = f"{num:,} images, {kind}: {words}"
        rows.append(Row(name, statistics.median(ours),
                        statistics.median(others) if others else None, unit,
                        "< 60 s" if what == "seconds" and num >= 30_000 else None))  # fmt: skip
    if len({run.output for run in (*mine, *theirs)}) > 1:
        notes.append(f"{num:,} images, {kind}: not all runs said the same of them.")


def inspected(checkout: Path, folder: Path, kind: str) -> Run:
    """A run of a checkout's command on all of a form of images."""
    section = "unlabelled" if kind == "folder" else "labelled"
    text = f"data.{section}={annotated_images.source(folder, kind)}"
    command = [sys.executable, "-m", "factory", "inspect", "--set=preset=64px", f"--set={text}"]
    with tempfile.NamedTemporaryFile("r") as used:
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE, used.name, *command],
            check=True,
            stdout=subprocess.PIPE,
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
        )
        seconds, processor_seconds, memory = json.load(used)
    return Run(seconds, processor_seconds, memory, done.stdout)


if __name__ == "__main__":
    main()
