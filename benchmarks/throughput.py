"""Pairs per second from noise to a shard's bytes on this machine's device, by size of the batch.

Meant for a GPU: without Ray, needs no data. The network has the shape of a config (random weights
unless --ddpm and --ensemble name models), labels come off the trajectory, pictures are encoded by
a thread while the next batch is sampled.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

import measuring
import torch
from measuring import Row
from pairs import face_models

from factory.config import load_config
from factory.shards.plan import Plan
from factory.synthesis import Models, Synthesizer, make_plan

ON_GPU = torch.cuda.is_available()


def main() -> None:
    arguments = measuring.parser(__doc__ or "")
    arguments.add_argument("--ddpm", help="a model folder of 64 px")
    arguments.add_argument("--ensemble", help="its ensemble")
    arguments.add_argument("--batches", type=int, nargs="+", help="sizes to try")
    arguments.add_argument("--rounds", type=int, default=4, help="batches timed at each size")
    arguments.add_argument("--set", action="append", default=[], help="generate's keys, as a=b")
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    models = face_models(given)
    sizes = given.batches or ([64, 128, 256, 512, 1024] if ON_GPU else [8, 32])
    rows, plan = [], None
    for size in sizes:
        plan = plan_of(models, size, given)
        rate = pairs_per_second(models, plan)
        rows.append(Row(f"H pairs/s, batch {size}", rate, None, "pairs/s", ">= 600 on an H200"))
    assert plan is not None
    recipe = {k: v for k, v in plan.recipe.items() if not k.endswith("sha256")}
    measuring.report("Throughput", rows, given.json, [f"Recipe: {recipe}."])


def plan_of(models: Models, batch_size: int, given: argparse.Namespace) -> Plan:
    """One shard of so many batches, after one that warms up."""
    chosen = [text.partition("=")[::2] for text in given.set]
    keys = {
        "generate.num": 2 * given.rounds * batch_size,
        "generate.samples_per_shard": given.rounds * batch_size,
        "generate.batch_size": batch_size,
        "generate.gpus_per_actor": int(ON_GPU),
        "generate.sampler": "unipc",
        "generate.num_sampling_steps": 10,
        "features.source": "trajectory",
    }
    return make_plan(
        load_config(None, [*keys.items(), *((f"generate.{k}", v) for k, v in chosen)]), models
    )


def pairs_per_second(models: Models, plan: Plan) -> float:
    """Of the plan's first shard; its second warms up, and compiles."""
    synthesizer = Synthesizer(models, plan)
    with ThreadPoolExecutor(1) as encoder:
        next(synthesizer.samples(plan.shard(1)))
        started = time.perf_counter()
        encoded = [
            encoder.submit(plan.encode_sample, sample)
            for sample in synthesizer.samples(plan.shard(0))
        ]
        plan.pack([future.result() for future in encoded])
        return len(encoded) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
