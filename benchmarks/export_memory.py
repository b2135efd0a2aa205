"""How much memory the export of a dataset of large shards takes, format by format.

    python benchmarks/export_memory.py [--megabytes 500] [--size 256]

The dataset has two shards of noise, which PNG cannot make smaller. Each export is a process of its
own; what is reported is its largest resident memory less that after its imports.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import measuring
import numpy as np
from measuring import Row

from factory.exporting.table import FORMATS
from factory.shards.ledger import Ledger
from factory.shards.packing import pack
from factory.shards.plan import Plan
from factory.shards.receipts import Circumstances
from factory.shards.schema import EncodedSample, Sample, sample_key

_EXPORT = r"""
import re, sys
from pathlib import Path
import pyarrow.parquet, factory, factory.exporting.command
# Unlike getrusage, it does not count what the process had that started this one.
peak = lambda: int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1000
before = peak()
factory.export(*sys.argv[1:])
print(peak() - before)
"""


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser("How much memory exports of large shards take.")
    arguments.add_argument("--megabytes", type=float, default=500, help="of a shard")
    arguments.add_argument("--size", type=int, default=256, help="pixels of a side")
    return arguments


def main() -> None:
    options = parser().parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        measuring.reporting("Memory of exports", options.json) as (rows, notes),
    ):
        for made_as in ("parquet", "webdataset"):
            url = f"{folder}/{made_as}"
            shard = write(url, made_as, options)
            notes.append(f"A shard of {made_as} has {shard:,.0f} MB.")
            for to in FORMATS:
                if to != "hub":
                    with tempfile.TemporaryDirectory(dir=folder) as out:
                        peak = measured(url, to, f"{out}/{to}")
                    rows.append(Row(f"{made_as} to {to}", peak, None, "MB"))


def write(url: str, made_as: str, options: argparse.Namespace) -> float:
    """A finished dataset of two shards; returns the megabytes of one."""
    num = max(1, int(options.megabytes * 1e6 / (options.size**2 * 3)))
    plan = Plan.model_validate(
        {
            "num": 2 * num,
            "samples_per_shard": num,
            "format": made_as,
            "class_names": ("background", "circle"),
            "palette": ((0, 0, 0), (255, 0, 0)),
            "recipe": {"seed": 0},
        }
    )
    image = np.random.default_rng(0).integers(0, 256, (options.size, options.size, 3), np.uint8)
    y, x = np.mgrid[: options.size, : options.size] - options.size / 2
    mask = (x**2 + y**2 < (options.size / 3) ** 2).astype(np.uint8)
    one = plan.encode_sample(Sample("", image, mask, 0, 0.1, "0123456789ab"))
    ledger = Ledger(url, plan)
    ledger.start("{}\n", {})
    for spec in plan.shards():
        keys = map(sample_key, range(spec.start, spec.stop))
        rows = [
            EncodedSample({**one.fields, "key": key}, one.image_png, one.mask_png) for key in keys
        ]
        ledger.publish(spec, pack(plan, spec, rows), Circumstances(seconds=1.0, host="here"))
    ledger.finish("A benchmark.", "other")
    return Path(url, plan.shard(0).path).stat().st_size / 1e6


def measured(url: str, to: str, out: str) -> float:
    """The megabytes that an export takes beside those of its imports."""
    ended = subprocess.run(
        [sys.executable, "-c", _EXPORT, url, to, out], stdout=subprocess.PIPE, text=True, check=True
    )
    return float(ended.stdout)


if __name__ == "__main__":
    main()
