"""Makes shards as a job's actors do, but in this process and without Ray."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from factory import cluster, generation, repair
from factory.config import Config
from factory.errors import GenerationFailed, UnlikeHardware
from factory.production import CALLS_AT_ONCE, SHARD_FAILURES, ShardMaker, advice
from factory.progress import tell
from factory.recipe import load_models
from factory.shards.plan import Plan
from factory.synthesis import Synthesizer


def without_ray(replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """From now on this process makes shards by itself and joins no cluster.

    replace: such as monkeypatch.setattr, which takes it back.
    """
    replace(cluster, "connect", lambda: None)
    for module in (generation, repair):
        replace(module, "make_shards", make_shards)


def make_shards(config: Config, plan: Plan, shards: Sequence[int], replace: bool = False) -> None:
    """Stands in for `factory.generation.make_shards`: a shard that fails stops no other."""
    synthesizer = Synthesizer(load_models(config), plan)
    knobs = config.generate
    try:
        maker = ShardMaker(synthesizer, plan, knobs.url, replace, knobs.allow_unlike_hardware)
    except UnlikeHardware as error:
        raise GenerationFailed(str(error)) from error
    if maker.joined.difference:
        tell(f"generate | {maker.joined.difference}")

    def failure(shard: int) -> str:
        try:
            maker.make(plan.shard(shard))
        except SHARD_FAILURES as error:
            return f"shard {shard}: {advice(error, plan)}"
        return ""

    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        failures = [told for told in pool.map(failure, shards) if told]
    if failures:
        raise GenerationFailed("\n".join(failures))
