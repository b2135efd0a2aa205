"""Makes shards in this process, without Ray."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from factory.config import Config
from factory.errors import GenerationFailed, UnlikeHardware
from factory.production import CALLS_AT_ONCE, SHARD_FAILURES, ShardMaker, advice
from factory.progress import duration, tell
from factory.recipe import load_models
from factory.shards.plan import Plan
from factory.synthesis import Synthesizer


def make_shards(config: Config, plan: Plan, shards: Sequence[int], replace: bool = False) -> None:
    """Makes these shards; one that fails stops no other.

    replace: as `publish` has it. Raises GenerationFailed where one is not made, CannotCompile
    and UserError as `Synthesizer` does.
    """
    generate = config.generate
    synthesizer = Synthesizer(load_models(config), plan)
    try:
        maker = ShardMaker(synthesizer, plan, generate.url, replace, generate.allow_unlike_hardware)
    except UnlikeHardware as error:
        raise GenerationFailed(str(error)) from error
    if maker.joined.difference:
        tell(f"generate | {maker.joined.difference}")

    def failure(shard: int) -> str:
        try:
            maker.make(plan.shard(shard))
        except SHARD_FAILURES as error:
            return f"  shard {shard}: {advice(error, plan)}"
        return ""

    failures, started = [], time.monotonic()
    told = started
    pool = ThreadPoolExecutor(CALLS_AT_ONCE)
    try:
        for num, message in enumerate(pool.map(failure, shards), start=1):
            failures += [message] if message else []
            if (now := time.monotonic()) - told >= generate.progress_seconds:
                told = now
                left = duration((now - started) / num * (len(shards) - num))
                tell(f"generate | {num:,} of {len(shards):,} shards are made | ETA {left}")
    finally:
        pool.shutdown(cancel_futures=True)
    if failures:
        raise GenerationFailed(
            f"{len(failures)} of {plan.num_shards} shards failed:\n" + "\n".join(failures)
        )
