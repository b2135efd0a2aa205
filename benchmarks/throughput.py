"""Pairs per second from noise to a shard's bytes on this machine's device, by size of the batch.

Meant for a GPU: without Ray, needs no data. The network has the shape of configs/faces64.yaml
(random weights unless --ddpm and --ensemble name models); pictures are encoded by a thread while
the next batch is sampled. Two recipes: the fewest passes, with labels off the trajectory, and what
`generate` does when nothing is set. Each rate is printed as soon as it is known, and the table
holds those that are known, even where a later one fails or the time is up.
"""

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import measuring
import torch
from measuring import Row
from pairs import FEWEST_PASSES, face_models
from torch.utils._pytree import tree_map_only

from factory.config import load_config
from factory.generation.recipe import Models, make_plan
from factory.generation.synthesizer import Synthesizer
from factory.shards.plan import Plan

ON_GPU = torch.cuda.is_available()
RECIPES: dict[str, dict[str, Any]] = {
    "fewest": {**FEWEST_PASSES, "generate.sampler": "unipc"},
    "shipped": {},
}


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser(__doc__ or "")
    arguments.add_argument("--ddpm", help="a model folder of 64 px")
    arguments.add_argument("--ensemble", help="its ensemble")
    arguments.add_argument(
        "--batch-sizes", type=int, nargs="+", default=[256, 512] if ON_GPU else [8, 32]
    )
    arguments.add_argument("--rounds", type=int, default=4, help="batches timed at each size")
    arguments.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    arguments.add_argument(
        "--cuda-graphs", action="store_true", help="replay the compiled network's launches"
    )
    measuring.add_set(arguments)
    return arguments


def main() -> None:
    known = parser()
    arguments = known.parse_args()
    if bool(arguments.ddpm) != bool(arguments.ensemble):
        known.error("--ddpm and --ensemble belong together")
    if arguments.cuda_graphs and not ON_GPU:
        known.error("--cuda-graphs needs a GPU")
    torch.set_num_threads(arguments.threads)
    models = face_models(arguments.ddpm, arguments.ensemble)
    with measuring.reporting("Throughput", arguments.json) as (rows, notes):
        for recipe in arguments.recipes:
            for size in arguments.batch_sizes:
                plan = plan_of(models, recipe, size, arguments)
                rate = pairs_per_second(models, plan, arguments.cuda_graphs)
                name = f"pairs/s, {recipe}, batch {size}"
                rows.append(Row(name, rate, None, "pairs/s", ">= 600 on an H200"))
                print(f"{name}: {rate:.4g}", file=sys.stderr, flush=True)
            settings = {k: v for k, v in plan.recipe.items() if not k.endswith("sha256")}
            notes.append(f"{recipe}: {settings}.")


def plan_of(models: Models, recipe: str, batch_size: int, arguments: argparse.Namespace) -> Plan:
    """One shard of so many batches, after one that warms up."""
    keys = {
        "generate.num": 2 * arguments.rounds * batch_size,
        "generate.samples_per_shard": arguments.rounds * batch_size,
        "generate.batch_size": batch_size,
        "generate.gpus_per_actor": int(ON_GPU),
        **RECIPES[recipe],
    }
    return make_plan(load_config(None, [*keys.items(), *arguments.set]), models)


def pairs_per_second(models: Models, plan: Plan, cuda_graphs: bool) -> float:
    """Of the plan's first shard; its second warms up, and compiles."""
    synthesizer = with_cuda_graphs(models, plan) if cuda_graphs else Synthesizer(models, plan)
    with ThreadPoolExecutor(1) as encoder:
        next(synthesizer.samples(plan.shard(1)))
        started = time.perf_counter()
        encoded = [
            encoder.submit(plan.encode_sample, sample)
            for sample in synthesizer.samples(plan.shard(0))
        ]
        plan.pack([future.result() for future in encoded])
        return len(encoded) / (time.perf_counter() - started)


def with_cuda_graphs(models: Models, plan: Plan) -> Synthesizer:
    """What it compiles is compiled to CUDA graphs; what they give is copied."""
    import torch._inductor.config  # takes a second

    torch._inductor.config.triton.cudagraphs = True
    synthesizer = Synthesizer(models, plan)
    for name in ("network", "features", "draw"):
        setattr(synthesizer, name, copied(getattr(synthesizer, name)))
    return synthesizer


def copied(graph: Callable[..., Any]) -> Callable[..., Any]:
    """The next replay overwrites what a graph gives."""

    def call(*inputs: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return tree_map_only(torch.Tensor, torch.clone, graph(*inputs))

    return call


if __name__ == "__main__":
    main()
