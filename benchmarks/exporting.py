"""How fast a finished dataset is exported, format by format.

    python benchmarks/exporting.py [--num 4000] [--size 64]

The dataset is of drawn faces, which repeat; it is read from and written to a temporary folder. Rows
named "to memory" go to a store in memory: so they tell the work alone, without waiting for a disk
to keep many small files. Run under `taskset --cpu-list 0` to give it one core.
"""

import argparse
import logging
import tempfile
from pathlib import Path
from typing import Any

import fsspec
import measuring
import torch
from measuring import Row

import factory
from factory.data.toy import drawing
from factory.data.toy.faces import CLASSES, PALETTE
from factory.exporting.table import FORMATS
from factory.shards.ledger import Ledger
from factory.shards.plan import Plan
from factory.shards.receipts import Circumstances
from factory.shards.schema import Sample, sample_key

_NUM_DRAWN = 500
_SHARD = 500
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in FORMATS if name != "hub"},
    "coco, instances": ("coco", {"instances": True}),
    "coco, polygons": ("coco", {"polygons": True}),
    "voc, JPEG": ("voc", {"jpeg": True}),
}


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser("How fast a finished dataset is exported, format by format.")
    arguments.set_defaults(threads=1, runs=3)
    arguments.add_argument("--num", type=int, default=4000, help="pairs")
    arguments.add_argument("--size", type=int, default=64, help="pixels of a side")
    return arguments


def main() -> None:
    options = parser().parse_args()
    torch.set_num_threads(options.threads)
    logging.getLogger("factory").setLevel(logging.ERROR)
    with (
        tempfile.TemporaryDirectory() as folder,
        measuring.reporting("Exports", options.json) as (rows, notes),
    ):
        notes.append(f"{options.num:,} pairs of {options.size} px, medians of {options.runs} runs.")
        write(f"{folder}/dataset", options.num, options.size)
        for name, (to, given) in CASES.items():
            for place, where in ((folder, ""), ("memory://", ", to memory")):
                rate = measured(f"{folder}/dataset", to, place, given, options)
                rows.append(Row(f"{name}{where}", rate, None, "pairs/s"))


def write(url: str, num: int, size: int) -> None:
    """A finished dataset of drawn faces, of which few are drawn."""
    plan = Plan(
        num=num,
        samples_per_shard=_SHARD,
        format="parquet",
        class_names=CLASSES,
        palette=PALETTE,
        recipe={"seed": 0},
    )
    drawn = [drawing.draw(0, index, size) for index in range(min(num, _NUM_DRAWN))]
    ledger = Ledger(url, plan)
    ledger.start("{}\n", {})
    for spec in plan.shards():
        samples = [
            Sample(sample_key(i), *drawn[i % len(drawn)], i, 0.1, "0123456789ab")
            for i in range(spec.start, spec.stop)
        ]
        circumstances = Circumstances(seconds=1.0, host="here")
        ledger.publish(spec, {spec.path: plan.encode(samples)}, circumstances)
    ledger.finish("A benchmark.", "other")


def measured(
    url: str, to: str, place: str, given: dict[str, Any], options: argparse.Namespace
) -> float:
    """Pairs a second, the median of some runs."""
    runs = iter(range(options.runs + 1))

    def export() -> None:
        out = f"{place.rstrip('/') if place != 'memory://' else 'memory://bench'}/out-{next(runs)}"
        factory.export(url, to, out, val=0.1, **given)

    seconds, _ = measuring.alternating(export, None, options.runs)
    fsspec.filesystem("memory").store.clear()
    for folder in Path(url).parent.glob("out-*"):
        fsspec.filesystem("file").rm(str(folder), recursive=True)
    return float(options.num / seconds)


if __name__ == "__main__":
    main()
