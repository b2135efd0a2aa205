"""What every benchmark here shares: alternating runs, one table, one JSON file.

These machines are noisy, so both sides of a comparison run in turns in one process, and medians
are compared. `ratio` always tells how many times better ours is; above 1 is better.
"""

import argparse
import gc
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

MORE_IS_BETTER = ("/s", "%", "IoU")


@dataclass(frozen=True)
class Row:
    """One line of a table; other and goal are None where there is nothing to compare with."""

    name: str
    ours: float
    other: float | None
    unit: str
    goal: str | None = None
    """In words, such as ">= 5x"."""

    @property
    def ratio(self) -> float | None:
        """How many times better ours is: units that end in "/s", "%" or "IoU" are better large."""
        if self.other is None:
            return None
        if self.unit.endswith(MORE_IS_BETTER):
            return self.ours / self.other if self.other else None
        return self.other / self.ours if self.ours else None


def parser(about: str) -> argparse.ArgumentParser:
    """The arguments of every benchmark."""
    arguments = argparse.ArgumentParser(description=about)
    arguments.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments.add_argument("--runs", type=int, default=5, help="alternating runs; medians are told")
    arguments.add_argument("--threads", type=int, default=2, help="CPU threads of both sides")
    return arguments


def add_diffuseseg(arguments: argparse.ArgumentParser) -> None:
    """The seed project's checkout, whose own code is the other side."""
    arguments.add_argument(
        "--diffuseseg", type=Path, metavar="PATH", help="a checkout of harish-jhr/DiffuseSeg"
    )


def add_ddpm_segmentation(arguments: argparse.ArgumentParser) -> None:
    """The paper's checkout, whose own code is the other side."""
    arguments.add_argument(
        "--ddpm-segmentation",
        type=Path,
        metavar="PATH",
        help="a checkout of yandex-research/ddpm-segmentation",
    )


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    gc.collect()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def alternating(
    ours: Callable[[], object], other: Callable[[], object] | None, runs: int
) -> tuple[float, float | None]:
    """Median seconds of both, called in turns after one call each that is not counted."""
    ours()
    if other is None:
        return statistics.median(seconds(ours) for _ in range(runs)), None
    other()
    pairs = [(seconds(ours), seconds(other)) for _ in range(runs)]
    mine, theirs = zip(*pairs, strict=True)
    return statistics.median(mine), statistics.median(theirs)


def report(
    title: str, rows: Sequence[Row], json_file: Path | None, notes: Sequence[str] = ()
) -> None:
    """Prints the table as Markdown, and the machine it was made on; writes the JSON."""
    print(f"\n### {title}\n\n{machine()}\n")
    table = [("", "ours", "other", "ratio", "goal")]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.3g}x"
        other = "" if row.other is None else f"{row.other:.4g} {row.unit}"
        table.append((row.name, f"{row.ours:.4g} {row.unit}", other, ratio, row.goal or ""))
    widths = [max(len(line[i]) for line in table) for i in range(5)]
    for number, line in enumerate(table):
        print("| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (w + 2) for w in widths) + "|")
    print("".join(f"\n{note}\n" for note in notes), flush=True)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        told = [
            {
                "name": row.name,
                "ours": row.ours,
                "other": row.other,
                "unit": row.unit,
                "ratio": row.ratio,
                "goal": row.goal,
            }
            for row in rows
        ]
        json_file.write_text(json.dumps(told, indent=1) + "\n")


def machine() -> str:
    """Processor, threads and versions, on one line."""
    if torch.cuda.is_available():
        processor = torch.cuda.get_device_name()
    else:
        lines = Path("/proc/cpuinfo")
        names = lines.read_text().splitlines() if lines.exists() else []
        models = [line.partition(":")[2].strip() for line in names if "model name" in line]
        processor = (
            f"{models[0] if models else platform.machine()}, {torch.get_num_threads()} threads"
        )
    return f"{processor}; Python {platform.python_version()}, torch {torch.__version__}"


def absent(what: str, flag: str) -> None:
    """Says that only our side runs."""
    print(f"{flag} is not given: {what} is not run, ours alone is measured", file=sys.stderr)
