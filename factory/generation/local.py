"""Makes shards in this process, without Ray."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from factory.config import Config, ShardsConfig
from factory.errors import CannotCompile, GenerationFailed, UnlikeHardware
from factory.generation.failures import Failures, told
from factory.generation.recipe import Models, load_models
from factory.generation.shard_maker import NUM_SLOTS, SHARD_FAILURES, ShardMaker, advice
from factory.generation.stages import batch_maker, settings_of
from factory.progress import bar, duration, tell
from factory.shards.plan import Plan
from factory.torch_threads import torch_threads


@contextmanager
def threads_of_an_actor(settings: ShardsConfig) -> Iterator[None]:
    """Lets the body compute with as many threads as an actor of a pool does: they cut the work, and
    so decide how sums are rounded."""
    with torch_threads(settings.threads_per_actor):
        yield


def make_shards(
    config: Config,
    plan: Plan,
    shards: Sequence[int],
    replace: bool = False,
    models: Models | None = None,
) -> None:
    """Makes these shards; one that fails stops no other, but max_failed_shards in a row do.

    replace: as for `Ledger.publish`. models: those of the config if they are loaded already. Raises
    GenerationFailed if one is not made, UserError as `batch_maker` does.
    """
    settings = settings_of(config, plan)
    with threads_of_an_actor(settings):
        maker = _maker(config, plan, models or load_models(config), replace)
        failures = _make_all(maker, shards, settings)
    if failures.num:
        raise GenerationFailed(told(failures.listed, failures.num, plan.num_shards))


def _maker(config: Config, plan: Plan, models: Models, replace: bool) -> ShardMaker:
    settings = settings_of(config, plan)
    try:
        batches = batch_maker(config, plan, models)
        maker = ShardMaker(batches, plan, settings.url, replace, settings.allow_unlike_hardware)
    except (CannotCompile, UnlikeHardware) as error:
        raise GenerationFailed(str(error)) from error
    if maker.joined.difference:
        tell(f"{plan.command} | {maker.joined.difference}")
    return maker


def _make_all(maker: ShardMaker, shards: Sequence[int], settings: ShardsConfig) -> Failures:
    """Makes the shards, and tells how many are made; returns those that are not. Raises
    GenerationFailed if too many fail in a row."""
    failures = Failures(settings.max_failed_shards)
    started = last_line = time.monotonic()
    threads = ThreadPoolExecutor(NUM_SLOTS)
    try:
        with bar(maker.plan.command, len(shards), "shards") as shown:
            errors = threads.map(partial(_make, maker), shards)
            for num, (shard, error) in enumerate(zip(shards, errors, strict=True), start=1):
                _count(failures, shard, error)
                shown.move(num)
                late = (now := time.monotonic()) - last_line >= settings.progress_seconds
                if late and not shown.is_shown:
                    last_line = now
                    left = duration((now - started) / num * (len(shards) - num))
                    what = f"{num:,} of {len(shards):,} shards are made"
                    tell(f"{maker.plan.command} | {what} | ETA {left}")
    finally:
        threads.shutdown(cancel_futures=True)
    return failures


def _make(maker: ShardMaker, shard: int) -> str:
    """Makes a shard; returns why it failed, or nothing."""
    try:
        maker.make(maker.plan.shard(shard))
    except SHARD_FAILURES as error:
        return advice(error, maker.plan)
    return ""


def _count(failures: Failures, shard: int, error: str) -> None:
    """Counts a shard's failure or, where error is empty, its success. Raises GenerationFailed if it
    is one failure too many."""
    if not error:
        failures.end_row()
    elif reason := failures.add(shard, error):
        raise GenerationFailed(reason)
