"""Makes shards with a pool of Ray actors.

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
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray
import torch

from factory import cluster, storage
from factory.config import Config, ShardsConfig
from factory.errors import CannotCompile, GenerationFailed, UnlikeHardware, UserError
from factory.generation import pool
from factory.generation.failures import told
from factory.generation.gpu_memory import limit_memory
from factory.generation.job import Attempt, Limits, Outcome, Progress
from factory.generation.recipe import load_models
from factory.generation.shard_maker import NUM_SLOTS, SHARD_FAILURES, ShardMaker, advice
from factory.generation.stages import batch_maker, settings_of
from factory.generation.watching import Watch, Whole
from factory.progress import bar, duration, print_lines, tell
from factory.shards.layout import RUN
from factory.shards.plan import Plan

_DEADLINE_POLL_SECONDS = 10.0
"""An actor asks every so many seconds how long a shard may take, until one is finished."""
_NOT_SHARED = "Name a path that all nodes share, or a URL such as s3://bucket/prefix."


def make_shards(config: Config, plan: Plan, shards: Sequence[int], replace: bool = False) -> None:
    """Makes these shards with the actors of a pool; raises GenerationFailed where one is not made.

    replace: as for `publish`. Raises UserError where not all nodes share the dataset's url.
    """
    cluster.connect()
    settings = settings_of(config, plan)
    _check_nodes_share(settings)
    attempts = settings.max_shard_retries + 1
    restarts = attempts * 2 * settings.max_actors
    limits = Limits(attempts, settings.max_failed_shards, restarts, settings.section)
    size = _size(settings, len(shards))
    work = pool.Work(partial(ShardActor, Assignment(config, plan, replace)), _STOPS_JOB)
    whole = _whole(plan, shards)
    with (
        bar(settings.section, whole.pairs, "pairs", done=whole.pairs_before) as shown,
        closing(pool.make(shards, limits, work, size)) as reports,
    ):
        watch = Watch(whole, size, settings.progress_seconds, shown, stage=settings.section)
        for progress in reports:
            watch.show(progress)
            _check_moves(watch, settings)
    _check_all_made(progress, plan)


def _size(settings: ShardsConfig, num_shards: int) -> pool.PoolSize:
    """Asks for all actors that are allowed and of use; on this machine alone, for all that it has
    room for."""
    num = min(settings.max_actors, num_shards)
    if not cluster.may_grow():
        room = cluster.room()
        fitting = int(room.cpus / settings.cpus_per_actor)
        if settings.gpus_per_actor:
            fitting = min(fitting, int(room.gpus / settings.gpus_per_actor))
        if max(1, fitting) < num:
            num = max(1, fitting)
            tell(f"{settings.section} | as many actors as this machine has room for: {num}")
    return pool.PoolSize(num, NUM_SLOTS, settings.cpus_per_actor, settings.gpus_per_actor)


def _whole(plan: Plan, shards: Sequence[int]) -> Whole:
    pairs = sum(spec.stop - spec.start for spec in map(plan.shard, shards))
    return Whole(plan.num, plan.num_shards, plan.num - pairs, plan.num_shards - len(shards))


def _check_moves(watch: Watch, settings: ShardsConfig) -> None:
    """Raises GenerationFailed where nothing was finished for too long."""
    most = settings.no_progress_timeout_seconds
    key = f"{settings.section}.no_progress_timeout_seconds"
    if watch.still_seconds() > most:
        raise GenerationFailed(
            f"no shard was finished for {duration(watch.still_seconds())}, which is more than "
            f"{key} = {most:g}. Raise it if shards are slow or nodes come late"
        )


def _check_all_made(progress: Progress, plan: Plan) -> None:
    """Raises GenerationFailed with what stopped the job, or with each shard that failed."""
    if progress.stop_reason:
        raise GenerationFailed(progress.stop_reason)
    if progress.num_failures:
        raise GenerationFailed(told(progress.failures, progress.num_failures, plan.num_shards))


def _check_nodes_share(settings: ShardsConfig) -> None:
    """Raises UserError where a path of this machine is not that of all nodes."""
    url = settings.url
    if not storage.is_local(url) or len(cluster.live_nodes()) == 1:
        return
    strangers, silent = cluster.nodes_without(storage.join(url, RUN))
    if strangers:
        raise UserError(
            f"{settings.section}.url: {url} is not shared by {', '.join(strangers)}. {_NOT_SHARED}"
        )
    if silent:
        # An actor there looks by itself, when it is started.
        tell(f"warning: {', '.join(silent)} did not answer whether {url} is shared there")


def check_capacity(settings: ShardsConfig) -> None:
    """Raises UserError where this machine alone can never run the smallest pool."""
    keys = f"{settings.section}.min_actors x {settings.section}."
    cluster.check_capacity(
        {
            "CPUs": (f"{keys}cpus_per_actor", settings.cpus_per_actor * settings.min_actors),
            "GPUs": (f"{keys}gpus_per_actor", settings.gpus_per_actor * settings.min_actors),
        }
    )


_STOPS_JOB = (GenerationFailed, UserError, OSError, CannotCompile, UnlikeHardware)
"""Errors that an actor meets before its first shard, which are for the user to mend."""


@dataclass(frozen=True)
class Assignment:
    """The values that every actor of a job is sent."""

    config: Config
    plan: Plan
    replace: bool
    """True if existing shards are replaced, as for `publish`."""


class ShardActor:
    """Loads the models once; makes and publishes shards, in NUM_SLOTS threads."""

    def __init__(self, assignment: Assignment, dispatcher: Any) -> None:
        print_lines()
        self.settings = settings_of(assignment.config, assignment.plan)
        self.dispatcher = dispatcher
        torch.set_num_threads(self.settings.threads_per_actor)
        limit_memory(self.settings.gpus_per_actor)
        with cluster.naming_this_node():
            _check_shared(self.settings.url)
            self.maker = _maker(assignment)
        if self.maker.joined.difference:
            dispatcher.note.remote(self.maker.joined.difference)
        if self.settings.shard_deadline_seconds == "auto":
            threading.Thread(target=self._limit_first_shards, daemon=True).start()

    def make(self, attempt: Attempt) -> Outcome:
        """Makes the attempt's shard, or returns why it failed for good."""
        plan, dispatcher = self.maker.plan, self.dispatcher
        try:
            with self.maker.begin(plan.shard(attempt.shard), self._deadline(attempt)) as shard:
                dispatcher.record_start.remote(attempt.number)
                for num in shard.batches():
                    dispatcher.record_pairs.remote(attempt.number, num)
                receipt = shard.publish()
            return Outcome(attempt.number, receipt.rows, receipt.seconds)
        except SHARD_FAILURES as error:
            return Outcome(attempt.number, error=advice(error, plan))
        except RuntimeError as error:
            # An error of CUDA, for one, after which this process is of no use.
            ray.get(dispatcher.record_fatal_error.remote(attempt.number, advice(error, plan)))
            os._exit(1)

    def _deadline(self, attempt: Attempt) -> float | None:
        """Returns how many seconds the shard may take."""
        deadline = self.settings.shard_deadline_seconds
        return attempt.deadline_seconds if deadline == "auto" else deadline

    def _limit_first_shards(self) -> None:
        """Sets a deadline for shards that are begun before any is finished."""
        while (seconds := ray.get(self.dispatcher.deadline_seconds.remote())) is None:
            time.sleep(_DEADLINE_POLL_SECONDS)
        self.maker.deadlines.limit(seconds)


def _maker(assignment: Assignment) -> ShardMaker:
    """Loads the models. Raises GenerationFailed where the GPU's memory is too small for them."""
    plan, config = assignment.plan, assignment.config
    settings, models = settings_of(config, plan), load_models(config)
    try:
        return ShardMaker(
            batch_maker(config, plan, models),
            plan,
            settings.url,
            assignment.replace,
            settings.allow_unlike_hardware,
        )
    except torch.OutOfMemoryError as error:
        raise GenerationFailed(advice(error, plan)) from None


def _check_shared(url: str) -> None:
    """Raises GenerationFailed if this node does not see the driver's output folder, because it is
    not on shared storage."""
    if not storage.exists(storage.join(url, RUN)):
        raise GenerationFailed(f"{url}: {platform.node()} finds no {RUN} there. {_NOT_SHARED}")
