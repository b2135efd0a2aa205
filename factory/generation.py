"""The factory on Ray Data: one row is one shard, a pool of actors makes them, the ledger counts.

Ray Data only schedules. An actor makes its shard and publishes it by itself; small rows come back.
So a lost actor costs one shard, a lost driver the shards in flight, and the same command resumes.
"""

import logging
import os
import platform
import re
import sys
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

import ray
import ray.data
import torch

from factory import cluster, storage
from factory.config import Config, dump_config, parse_config
from factory.errors import UserError
from factory.production import CALLS_AT_ONCE, SHARD_FAILURES, ShardMaker, advice
from factory.progress import duration, tell
from factory.shards.ledger import (
    RUN,
    Incomplete,
    check_run,
    finish_run,
    pending_shards,
    start_run,
)
from factory.shards.plan import Plan
from factory.shards.receipts import Manifest
from factory.synthesis import Synthesizer, load_models, make_plan
from factory.tally import Tally

_LOOK_SECONDS = 10.0
"""Between an actor's looks at how long a shard usually takes, until the first one is finished."""
_NOT_SHARED = "Name a path that all nodes share, or a URL such as s3://bucket/prefix."
_VERSIONS = ("torch", "ray", "pyarrow", "pillow", "deflate", "numpy", "safetensors")


class GenerationFailed(Exception):
    """The job stopped before every shard was there; what is there stays and can be resumed."""


def check(config: Config) -> Plan:
    """Raises UserError for all that would stop `generate`; starts and writes nothing."""
    url = config.generate.url
    if cluster.under_ray_job() and storage.is_local(url) and _below(url, os.getcwd()):
        raise UserError(
            f"generate.url: {url} lies in the job's own folder, which is thrown away. "
            "Name an absolute path that all nodes share, or a URL such as s3://bucket/prefix."
        )
    _check_capacity(config)
    plan = make_plan(config, load_models(config))
    if not storage.check_writable(url):
        tell(
            f"warning: {url}: this store replaces files in spite of create-only writes. Never run "
            "two commands on one dataset at once there."
        )
    return storage.patiently(lambda: check_run(url, plan, config.generate.extend))


def generate(config: Config) -> Manifest:
    """Makes the dataset at generate.url, or what is still missing of it.

    Raises UserError before anything is started, GenerationFailed where shards keep failing.
    """
    plan = check(config)
    url = config.generate.url
    pending = [spec.shard for spec in storage.patiently(lambda: pending_shards(url, plan))]
    if pending:
        # First: a plan that is left behind would be in the way of the next one.
        cluster.connect()
    storage.patiently(lambda: start_run(url, plan, dump_config(config), environment()))
    tell(
        f"generate | run {plan.run_id} | {plan.num_shards - len(pending)}/{plan.num_shards} "
        f"shards are there | {url}"
    )
    if pending:
        make_shards(config, plan, pending)
    manifest = complete(config, plan, made=pending)
    tell(f"generate | complete | {manifest.rows:,} pairs, {manifest.bytes:,} bytes | {url}")
    return manifest


def complete(config: Config, plan: Plan, made: Collection[int]) -> Manifest:
    """Finishes the run. Where a receipt turns out to be of no use, its shard is made again.

    made: the shards that are known to lie there as they should. Raises GenerationFailed,
    Incomplete, OSError.
    """
    url, told = config.generate.url, (_description(config, plan), config.generate.license)
    try:
        return storage.patiently(lambda: finish_run(url, plan, *told, proven=made))
    except Incomplete as incomplete:
        make_shards(config, plan, incomplete.shards)
        known = {*made, *incomplete.shards}
        return storage.patiently(lambda: finish_run(url, plan, *told, proven=known))


def environment() -> dict[str, str]:
    """What the run was made with: versions and processor, nothing of the user's environment."""
    names = {name: version(name) for name in _VERSIONS}
    return {"python": sys.version.split()[0], "machine": platform.machine(), **names}


def _tally() -> Any:
    # Beside the driver: other nodes come and go.
    beside = cluster.at_node(cluster.this_node())
    return ray.remote(num_cpus=0, scheduling_strategy=beside)(Tally).remote()


class ShardActor:
    """Loads the models once; each call makes and publishes one shard."""

    def __init__(
        self, config: dict[str, Any], plan: dict[str, Any], tally: Any, replace: bool
    ) -> None:
        parsed = parse_config(config)
        self.knobs = parsed.generate
        self.tally = tally
        self.max_tries = self.knobs.max_shard_retries + 1
        limit = self.max_tries * 2 * self.knobs.max_actors
        if ray.get(tally.start_actor.remote()) > limit:
            raise GenerationFailed(f"{limit} actors died, and no shard was finished in between")
        _check_shared(self.knobs.url)
        torch.set_num_threads(max(1, int(self.knobs.cpus_per_actor)))
        told = Plan.model_validate(plan)
        synthesizer = Synthesizer(load_models(parsed), told)
        self.maker = ShardMaker(synthesizer, told, self.knobs.url, replace)
        if self.knobs.shard_deadline_seconds == "auto":
            threading.Thread(target=self._limit_first_shards, daemon=True).start()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Runs in production.CALLS_AT_ONCE threads. Returns the shard, and its failure or ""."""
        shard = int(batch["shard"][0])
        spec = self.maker.plan.shard(shard)
        failure = ""
        try:
            made = partial(self.tally.made.remote, shard)
            receipt = self.maker.make(spec, made, partial(self._begin, shard))
            ray.get(self.tally.finished.remote(receipt.seconds))
        except SHARD_FAILURES as error:
            failure = advice(error, self.maker.plan)
            failures = ray.get(self.tally.failed.remote(shard, failure))
            if failures > self.knobs.max_failed_shards:
                raise GenerationFailed(
                    f"{failures} shards failed and none succeeded in between; the last one, shard "
                    f"{shard}: {failure}"
                ) from error
        except RuntimeError as error:
            # Of CUDA, for one, after which this process is of no use.
            ray.get(self.tally.died_of.remote(shard, advice(error, self.maker.plan)))
            os._exit(1)
        return {"shard": [shard], "failure": [failure]}

    def _begin(self, shard: int) -> float | None:
        """How many seconds the shard may take."""
        here, nodes = cluster.this_node(), list(cluster.live_nodes())
        tries, error, usual = ray.get(self.tally.try_shard.remote(shard, here, nodes))
        if tries > self.max_tries:
            raise GenerationFailed(
                f"shard {shard}: its actor died or hung {tries - 1} times while making it. "
                + (error or "Where memory is short, lower generate.max_actors.")
            )
        deadline = self.knobs.shard_deadline_seconds
        return usual if deadline == "auto" else deadline

    def _limit_first_shards(self) -> None:
        """Those that are begun before any is finished."""
        while (usual := ray.get(self.tally.deadline_seconds.remote())) is None:
            time.sleep(_LOOK_SECONDS)
        self.maker.deadlines.limit(usual)


def _check_shared(url: str) -> None:
    """Raises GenerationFailed where the driver's place is not this node's: each would write on a
    disk of its own."""
    if not storage.patiently(lambda: storage.exists(storage.join(url, RUN))):
        raise GenerationFailed(f"{url}: {platform.node()} finds no {RUN} there. {_NOT_SHARED}")


def make_shards(config: Config, plan: Plan, shards: Sequence[int], replace: bool = False) -> None:
    """Makes these shards with the actors of a pool; raises GenerationFailed where one is not.

    replace: as `publish` has it. Raises UserError where not all nodes share the place.
    """
    cluster.connect()
    knobs = config.generate
    has_others = storage.is_local(knobs.url) and len(cluster.live_nodes()) > 1
    if has_others and (strangers := cluster.nodes_without(storage.join(knobs.url, RUN))):
        raise UserError(
            f"generate.url: {knobs.url} is not shared by {', '.join(strangers)}. {_NOT_SHARED}"
        )
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = knobs.no_progress_timeout_seconds
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    tally = _tally()
    made = ray.data.from_items(
        [{"shard": shard} for shard in shards], override_num_blocks=len(shards)
    ).map_batches(
        ShardActor,
        batch_size=1,
        # All are asked for at once and begin as room is found for them: a pool that grows by itself
        # adds an actor when its tasks wait, and here none is sent that would.
        compute=ray.data.ActorPoolStrategy(
            size=min(knobs.max_actors, len(shards)),
            max_tasks_in_flight_per_actor=CALLS_AT_ONCE,
            max_concurrent_calls_per_actor=CALLS_AT_ONCE,
            enable_true_multi_threading=True,
        ),
        num_cpus=knobs.cpus_per_actor,
        num_gpus=knobs.gpus_per_actor or None,
        fn_constructor_kwargs={
            "config": config.model_dump(mode="json"),
            "plan": plan.model_dump(mode="json"),
            "tally": tally,
            "replace": replace,
        },
    )
    with _progress(config, plan, tally, shards):
        try:
            rows = list(made.iter_rows())
        except (
            ray.exceptions.RayError,
            ray.data.exceptions.UserCodeException,
        ) as error:
            raise GenerationFailed(_reason(error)) from error
    failures = {row["shard"]: row["failure"] for row in rows if row["failure"]}
    if failures:
        told = "\n".join(f"  shard {shard}: {why}" for shard, why in sorted(failures.items()))
        raise GenerationFailed(f"{len(failures)} of {plan.num_shards} shards failed:\n{told}")


def _reason(error: BaseException) -> str:
    """What went wrong in the actor, without Ray's frames and names around it."""
    told = re.findall(r"^(?!ray\.)[\w.]+: (.+)$", str(error), flags=re.MULTILINE)
    return told[-1] if told else str(error).strip().splitlines()[-1]


@contextmanager
def _progress(config: Config, plan: Plan, tally: Any, shards: Sequence[int]) -> Iterator[None]:
    """Tells a line every generate.progress_seconds while the body makes the shards."""
    specs = [plan.shard(shard) for shard in shards]
    num_done = plan.num - sum(spec.stop - spec.start for spec in specs)
    shards_done = plan.num_shards - len(specs)
    stopped = threading.Event()
    started = time.monotonic()

    def tell_on() -> None:
        while not stopped.wait(config.generate.progress_seconds):
            try:
                pairs, shards, again = ray.get(tally.read.remote())
            except ray.exceptions.RayError:
                # The job ends with a reason of its own.
                return
            rate = pairs / (time.monotonic() - started)
            left = duration((plan.num - num_done - pairs) / rate) if pairs else "unknown"
            tell(
                f"generate | shards {shards_done + shards:,}/{plan.num_shards:,} | "
                f"{num_done + pairs:,}/{plan.num:,} pairs | {rate:.2f} pairs/s | ETA {left} | "
                f"tried again {again}"
            )

    teller = threading.Thread(target=tell_on, name="progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        stopped.set()
        teller.join(timeout=10)


def _check_capacity(config: Config) -> None:
    """Raises UserError where this machine alone can never run the smallest pool."""
    knobs = config.generate
    if os.environ.get("RAY_ADDRESS") or ray.is_initialized():
        # A cluster may grow, and the caller's own may be one.
        return
    for resource, there, each, key in (
        ("CPUs", os.cpu_count() or 1, knobs.cpus_per_actor, "cpus_per_actor"),
        ("GPUs", torch.cuda.device_count(), knobs.gpus_per_actor, "gpus_per_actor"),
    ):
        needed = each * knobs.min_actors
        if needed > there:
            raise UserError(
                f"generate.min_actors x generate.{key} = {needed:g} {resource}, this machine has "
                f"{there:g}. Lower one of them, or set RAY_ADDRESS to a cluster."
            )


def _below(url: str, folder: str) -> bool:
    return os.path.commonpath([os.path.realpath(url), os.path.realpath(folder)]) == (
        os.path.realpath(folder)
    )


def _description(config: Config, plan: Plan) -> str:
    source = config.data.unlabelled
    where = "drawn faces" if source.kind == "toy" else storage.name_of(source.url or "")
    size = plan.recipe["image_size"]
    return (
        f"Synthetic {size}x{size} images with a class for every pixel: sampled from a DDPM of "
        f"{where}, labelled by an ensemble on the DDPM's own features."
    )
