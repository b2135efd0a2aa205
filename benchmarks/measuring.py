"""What every benchmark here shares: alternating runs, one table, one JSON file.

These machines are noisy, so both sides of a comparison run in turns in one process, and medians
are compared. `ratio` always says how many times better ours is; above 1 is better.
"""

import argparse
import gc
import json
import platform
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from factory.config import parse_override
from factory.errors import UserError

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
    arguments.add_argument(
        "--runs", type=int, default=5, help="alternating runs; medians are reported"
    )
    arguments.add_argument("--threads", type=int, default=2, help="CPU threads of both sides")
    return arguments


def add_diffuseseg(arguments: argparse.ArgumentParser) -> None:
    """The option that names a checkout of DiffuseSeg, whose own code is the other side."""
    arguments.add_argument(
        "--diffuseseg",
        type=_checkout("utils"),
        metavar="PATH",
        help="a checkout of harish-jhr/DiffuseSeg",
    )


def add_ddpm_segmentation(arguments: argparse.ArgumentParser) -> None:
    """The option that names a checkout of the paper's code, which is the other side."""
    arguments.add_argument(
        "--ddpm-segmentation",
        type=_checkout("src"),
        metavar="PATH",
        help="a checkout of yandex-research/ddpm-segmentation",
    )


def add_set(arguments: argparse.ArgumentParser) -> None:
    """Overrides of a config's keys, as (key, value)."""
    arguments.add_argument(
        "--set",
        type=_override,
        action="append",
        default=[],
        metavar="A.B=C",
        help="override a config key",
    )


def _checkout(folder: str) -> Callable[[str], Path]:
    """What accepts the path of a checkout, which has this folder."""

    def path(text: str) -> Path:
        if not (Path(text) / folder).is_dir():
            raise argparse.ArgumentTypeError(f"{text} has no folder {folder}: not a checkout of it")
        return Path(text)

    return path


def _override(text: str) -> tuple[str, Any]:
    try:
        return parse_override(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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


@contextmanager
def reporting(title: str, json_file: Path | None) -> Iterator[tuple[list[Row], list[str]]]:
    """Rows and notes to fill, reported at the end of the block.

    What is there is reported, too, where the block fails, is interrupted or terminated.
    """
    rows: list[Row] = []
    notes: list[str] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield rows, notes
    finally:
        signal.signal(signal.SIGTERM, before)
        if rows:
            report(title, rows, json_file, notes)


def report(
    title: str, rows: Sequence[Row], json_file: Path | None, notes: Sequence[str] = ()
) -> None:
    """Prints the table as Markdown, and the machine it was made on; writes the JSON."""
    print(f"\n### {title}\n\n{machine()}\n")
    table = [("", "ours", "other", "ratio", "goal")]
    for row in rows:
        ratio = "" if row.ratio is None else f"{float(f'{row.ratio:.3g}'):,g}x"
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
        records = [
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
        json_file.write_text(json.dumps(records, indent=1) + "\n")


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
