"""Makes shards on Ray: a pool of actors takes turns at them.

Ray only schedules. An actor makes its shard and publishes it by itself; nothing comes back but
numbers. So a lost actor costs the shards that it was at, a lost driver those of all actors, and the
same command resumes.
"""

import os
import platform
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Any

import ray
import torch

from factory import cluster, storage
from factory.config import Config, GenerateConfig, config_tree, parse_config
from factory.errors import CannotCompile, GenerationFailed, UnlikeHardware, UserError
from factory.generation import pool
from factory.generation.dispatcher import Limits, Outcome, Progress, Turn
from factory.generation.gpu_memory import limit_memory
from factory.generation.recipe import load_models
from factory.generation.shard_maker import CALLS_AT_ONCE, SHARD_FAILURES, ShardMaker, advice
from factory.generation.synthesizer import Synthesizer
from factory.generation.watching import Watch, Whole
from factory.progress import duration, print_lines, tell
from factory.shards.layout import RUN
from factory.shards.plan import Plan

_LOOK_SECONDS = 10.0
"""Between an actor's looks at how long a shard usually takes, until the first one is finished."""
_NOT_SHARED = "Name a path that all nodes share, or a URL such as s3://bucket/prefix."


def make_shards(config: Config, plan: Plan, shards: Sequence[int], replace: bool = False) -> None:
    """Makes these shards with the actors of a pool; raises GenerationFailed where one is not.

    replace: as `publish` has it. Raises UserError where not all nodes share the place.
    """
    cluster.connect()
    settings = config.generate
    _check_nodes_share(settings.url)
    limits = Limits(
        tries=settings.max_shard_retries + 1,
        failed_shards=settings.max_failed_shards,
        restarts=(settings.max_shard_retries + 1) * 2 * settings.max_actors,
    )
    size = _size(settings, len(shards))
    content = config_tree(config), plan.model_dump(mode="json"), replace
    work = pool.Work(partial(ShardActor, *content), _ENDS_JOB)
    watch = Watch(_whole(plan, shards), size, settings.progress_seconds)
    with closing(pool.make(shards, limits, work, size)) as looks:
        for last in looks:
            watch.look(last)
            _check_moves(watch, settings)
    _check_all_made(last, plan)


def _size(settings: GenerateConfig, num_shards: int) -> pool.Size:
    """All actors that are allowed and of use; on this machine alone, all that it has room for."""
    num = min(settings.max_actors, num_shards)
    if not cluster.may_grow():
        there = cluster.room()
        fitting = int(there.cpus / settings.cpus_per_actor)
        if settings.gpus_per_actor:
            fitting = min(fitting, int(there.gpus / settings.gpus_per_actor))
        if max(1, fitting) < num:
            num = max(1, fitting)
            tell(f"generate | as many actors as this machine has room for: {num}")
    return pool.Size(num, CALLS_AT_ONCE, settings.cpus_per_actor, settings.gpus_per_actor)


def _whole(plan: Plan, shards: Sequence[int]) -> Whole:
    pairs = sum(spec.stop - spec.start for spec in map(plan.shard, shards))
    return Whole(plan.num, plan.num_shards, plan.num - pairs, plan.num_shards - len(shards))


def _check_moves(watch: Watch, settings: GenerateConfig) -> None:
    """Raises GenerationFailed where nothing was finished for too long."""
    if watch.still_seconds() > settings.no_progress_timeout_seconds:
        raise GenerationFailed(
            f"no shard was finished for {duration(watch.still_seconds())}, which is more than "
            f"generate.no_progress_timeout_seconds = {settings.no_progress_timeout_seconds:g}. "
            "Raise it if shards are slow or nodes come late"
        )


def _check_all_made(last: Progress, plan: Plan) -> None:
    """Raises GenerationFailed with what ended the job, or with each shard that failed."""
    if last.ended:
        raise GenerationFailed(last.ended)
    if last.num_failures:
        told = [f"  shard {shard}: {why}" for shard, why in sorted(last.failures.items())]
        if last.num_failures > len(told):
            told.append(f"  and {last.num_failures - len(told):,} more")
        raise GenerationFailed(
            f"{last.num_failures} of {plan.num_shards} shards failed:\n" + "\n".join(told)
        )


def _check_nodes_share(url: str) -> None:
    """Raises UserError where a path of this machine is not that of all nodes."""
    if not storage.is_local(url) or len(cluster.live_nodes()) == 1:
        return
    strangers, silent = cluster.nodes_without(storage.join(url, RUN))
    if strangers:
        raise UserError(
            f"generate.url: {url} is not shared by {', '.join(strangers)}. {_NOT_SHARED}"
        )
    if silent:
        # An actor there looks by itself, when it is started.
        tell(f"warning: {', '.join(silent)} did not answer whether {url} is shared there")


def check_capacity(config: Config) -> None:
    """Raises UserError where this machine alone can never run the smallest pool."""
    settings = config.generate
    keys = "generate.min_actors x generate."
    cluster.check_capacity(
        {
            "CPUs": (f"{keys}cpus_per_actor", settings.cpus_per_actor * settings.min_actors),
            "GPUs": (f"{keys}gpus_per_actor", settings.gpus_per_actor * settings.min_actors),
        }
    )


_ENDS_JOB = (GenerationFailed, UserError, OSError, CannotCompile, UnlikeHardware)
"""What an actor meets before its first shard, which is for the user to mend."""


class ShardActor:
    """Loads the models once; makes and publishes shards, in CALLS_AT_ONCE threads."""

    def __init__(
        self, config: dict[str, Any], plan: dict[str, Any], replace: bool, dispatcher: Any
    ) -> None:
        print_lines()
        parsed = parse_config(config)
        self.settings = parsed.generate
        self.dispatcher = dispatcher
        torch.set_num_threads(self.settings.threads_per_actor)
        limit_memory(self.settings.gpus_per_actor)
        told = Plan.model_validate(plan)
        with cluster.naming_this_node():
            _check_shared(self.settings.url)
            models = load_models(parsed)
            try:
                self.maker = ShardMaker(
                    Synthesizer(models, told),
                    told,
                    self.settings.url,
                    replace,
                    self.settings.allow_unlike_hardware,
                )
            except torch.OutOfMemoryError as error:
                raise GenerationFailed(advice(error, told)) from None
        if self.maker.joined.difference:
            dispatcher.note.remote(self.maker.joined.difference)
        if self.settings.shard_deadline_seconds == "auto":
            threading.Thread(target=self._limit_first_shards, daemon=True).start()

    def make(self, turn: Turn) -> Outcome:
        """Makes the turn's shard, or tells why it failed for good."""
        plan, dispatcher = self.maker.plan, self.dispatcher
        try:
            with self.maker.sampling(plan.shard(turn.shard), self._deadline(turn)) as shard:
                dispatcher.begin.remote(turn.number)
                for num in shard.batches():
                    dispatcher.made.remote(turn.number, num)
            receipt = shard.publish()
            return Outcome(turn.number, receipt.rows, receipt.seconds)
        except SHARD_FAILURES as error:
            return Outcome(turn.number, error=advice(error, plan))
        except RuntimeError as error:
            # Of CUDA, for one, after which this process is of no use.
            ray.get(dispatcher.died_of.remote(turn.number, advice(error, plan)))
            os._exit(1)

    def _deadline(self, turn: Turn) -> float | None:
        """How many seconds the shard may take."""
        deadline = self.settings.shard_deadline_seconds
        return turn.seconds if deadline == "auto" else deadline

    def _limit_first_shards(self) -> None:
        """Those that are begun before any is finished."""
        while (usual := ray.get(self.dispatcher.deadline_seconds.remote())) is None:
            time.sleep(_LOOK_SECONDS)
        self.maker.deadlines.limit(usual)


def _check_shared(url: str) -> None:
    """Raises GenerationFailed where the driver's place is not this node's: each would write on a
    disk of its own."""
    if not storage.exists(storage.join(url, RUN)):
        raise GenerationFailed(f"{url}: {platform.node()} finds no {RUN} there. {_NOT_SHARED}")
