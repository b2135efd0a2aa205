"""The ledger's speed: deciding what to resume, proving bytes, and its share of a run's time.

Shards here are random bytes with true receipts, so that nothing but the ledger is measured; only
the last row makes real pairs, of the toy models.
"""

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import measuring
import numpy as np
import torch
from measuring import Row

from factory.config import load_config
from factory.generation.recipe import load_models, make_plan
from factory.generation.shard_maker import ShardMaker
from factory.generation.synthesizer import Synthesizer
from factory.shards.layout import plan_files, receipt_name, to_json
from factory.shards.ledger import Ledger
from factory.shards.plan import Plan
from factory.shards.receipts import Receipt
from factory.shards.schema import sample_key
from factory.shards.status import status
from factory.shards.verification import verify


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser(__doc__ or "")
    arguments.add_argument("--receipts", type=int, default=10_000)
    arguments.add_argument("--gigabytes", type=float, default=2.0)
    return arguments


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        rows = many_receipts(f"{folder}/many", arguments)
        rows.append(much_data(f"{folder}/much", arguments))
        rows.append(protocol_share(f"{folder}/pairs", arguments))
    notes = [f"Medians of {arguments.runs} runs; files in the page cache."]
    measuring.report("Ledger", rows, arguments.json, notes)


def dataset(url: str, num_shards: int, shard_bytes: int) -> Plan:
    """A finished dataset of random bytes."""
    plan = Plan(
        num=num_shards,
        samples_per_shard=1,
        format="webdataset",
        class_names=("a", "b"),
        palette=((0, 0, 0), (255, 0, 0)),
        recipe={"seed": 0},
    )
    Ledger(url, plan).start("{}\n", {})
    rng = np.random.default_rng(0)
    for name in ("data", "_factory/shards"):
        Path(url, name).mkdir(parents=True)
    for spec in plan.shards():
        data = rng.bytes(shard_bytes)
        key = sample_key(spec.start)
        receipt = Receipt(
            run_id=plan.run_id,
            shard=spec.shard,
            path=spec.path,
            rows=1,
            bytes=shard_bytes,
            sha256=hashlib.sha256(data).hexdigest(),
            first_key=key,
            last_key=key,
            class_pixels=[1, 1],
            uncertainty_mean=0.0,
            uncertainty_max=0.0,
            seconds=1.0,
            host="here",
        )
        Path(url, spec.path).write_bytes(data)
        Path(url, receipt_name(spec.shard)).write_bytes(to_json(receipt.model_dump(mode="json")))
    return plan


def many_receipts(url: str, arguments: argparse.Namespace) -> list[Row]:
    plan = dataset(url, arguments.receipts, 100)
    assert not Ledger(url, plan).pending() and plan_files(plan)

    def seconds(work: Any) -> float:
        return statistics.median(measuring.seconds(work) for _ in range(arguments.runs))

    count = f"{arguments.receipts:,} receipts"
    return [
        Row(f"resume: {count}", seconds(Ledger(url, plan).pending), None, "s", "<= 5 s"),
        Row(f"status: {count}", seconds(lambda: status(url)), None, "s"),
        Row(f"finish: {count}", seconds(lambda: Ledger(url, plan).finish("", "mit")), None, "s"),
        Row(f"verify: {count}", seconds(lambda: verify(url)), None, "s"),
    ]


def much_data(url: str, arguments: argparse.Namespace) -> Row:
    """On one core: hashing would use them all."""
    shard_bytes = 2**28
    plan = dataset(url, max(1, round(arguments.gigabytes * 1e9 / shard_bytes)), shard_bytes)
    Ledger(url, plan).finish("", "mit")
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(everywhere)})
    seconds = statistics.median(
        measuring.seconds(lambda: verify(url)) for _ in range(arguments.runs)
    )
    os.sched_setaffinity(0, everywhere)
    rate = plan.num_shards * shard_bytes / 1e9 / seconds
    return Row("verify --level hash, one core", rate, None, "GB/s", ">= 1 GB/s")


def protocol_share(url: str, arguments: argparse.Namespace) -> Row:
    """Check, hash, write and receipt of a shard, beside the making of its pairs."""
    keys = [("generate.num", 256), ("generate.samples_per_shard", 256), ("generate.url", url)]
    config = load_config(None, keys)
    models = load_models(config)
    plan = make_plan(config, models)
    Ledger(url, plan).start("{}\n", {})
    maker = ShardMaker(Synthesizer(models, plan), plan, url)
    spent: list[float] = []
    original = Ledger.publish

    def timed(*rest: Any, **more: Any) -> Receipt:
        started = time.perf_counter()
        receipt = original(*rest, **more)
        spent.append(time.perf_counter() - started)
        return receipt

    Ledger.publish = timed
    whole = measuring.seconds(lambda: maker.make(plan.shard(0)))
    share = 100 * spent[0] / whole
    return Row("publishing's share of a shard of 256 pairs", share, None, "% of time", "<= 1 %")


if __name__ == "__main__":
    main()
