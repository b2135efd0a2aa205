"""Makes a dataset: what is missing of it is made by workers, and the ledger counts."""

import os
import platform
from array import array
from collections.abc import Collection, Sequence
from importlib.metadata import version

from factory import storage
from factory.config import TOY, Config, dump_config
from factory.errors import Incomplete, UserError
from factory.generation.hardware import libraries, processor
from factory.generation.recipe import load_models, make_plan
from factory.progress import tell
from factory.ray_internals.environment import is_submitted_job
from factory.shards.ledger import (
    finish_run,
    pending_among,
    published,
    read_hardware,
    resolve_plan,
    start_run,
)
from factory.shards.plan import Plan
from factory.shards.receipts import Manifest


def check(config: Config) -> Plan:
    """Raises UserError for all that would stop `generate`; starts and writes nothing."""
    url = config.generate.url
    # The folder of a submitted job is thrown away.
    if is_submitted_job() and storage.is_local(url) and _below(url, os.getcwd()):
        raise UserError(
            f"generate.url: {url} lies in the job's own folder, which is thrown away. "
            "Name an absolute path that all nodes share, or a URL such as s3://bucket/prefix."
        )
    if config.generate.workers == "ray":
        from factory.generation import ray_actors

        ray_actors.check_capacity(config)
    plan = make_plan(config, load_models(config))
    if not storage.check_writable(url):
        tell(
            f"warning: {url}: this store replaces files in spite of create-only writes. Never run "
            "two commands on one dataset at once there."
        )
    read_hardware(url)
    return resolve_plan(url, plan, config.generate.extend)


def generate(config: Config) -> Manifest:
    """Makes the dataset at generate.url, or what is still missing of it.

    Raises UserError before anything is started, GenerationFailed where shards keep failing.
    """
    plan = check(config)
    url = config.generate.url
    pending = missing_shards(url, plan)
    if pending and config.generate.workers == "ray":
        from factory import cluster

        # First: a plan that is left behind would be in the way of the next one.
        cluster.connect()
    start_run(url, plan, dump_config(config), environment())
    tell(
        f"generate | run {plan.run_id} | {plan.num_shards - len(pending)}/{plan.num_shards} "
        f"shards are there | {url}"
    )
    if pending:
        make_shards(config, plan, pending)
    manifest = complete(config, plan, made=pending)
    tell(f"generate | complete | {manifest.rows:,} pairs, {manifest.bytes:,} bytes | {url}")
    return manifest


def missing_shards(url: str, plan: Plan) -> Sequence[int]:
    """Numbers of the shards that are missing; of a million, four megabytes."""
    return array("I", (spec.shard for spec in pending_among(plan, published(url))))


def make_shards(config: Config, plan: Plan, shards: Sequence[int], replace: bool = False) -> None:
    """Makes these shards; raises GenerationFailed where one is not.

    replace: as `publish` has it.
    """
    if config.generate.workers == "here":
        from factory.generation import local

        local.make_shards(config, plan, shards, replace)
    else:
        from factory.generation import ray_actors

        ray_actors.make_shards(config, plan, shards, replace)


def complete(config: Config, plan: Plan, made: Collection[int]) -> Manifest:
    """Finishes the run. Where a receipt turns out to be of no use, its shard is made again.

    made: the shards that are known to lie there as they should. Raises GenerationFailed,
    Incomplete, OSError.
    """
    url, told = config.generate.url, (_description(config, plan), config.generate.license)
    try:
        return finish_run(url, plan, *told, proven=made)
    except Incomplete as incomplete:
        make_shards(config, plan, incomplete.shards)
        known = {*made, *incomplete.shards}
        return finish_run(url, plan, *told, proven=known)


def environment() -> dict[str, str]:
    """What the driver runs with: versions and processor, nothing of the user's own environment."""
    return {
        **libraries(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        **processor(),
        "ray": version("ray"),
        "safetensors": version("safetensors"),
    }


def _below(url: str, folder: str) -> bool:
    return os.path.commonpath([os.path.realpath(url), os.path.realpath(folder)]) == (
        os.path.realpath(folder)
    )


def _description(config: Config, plan: Plan) -> str:
    source = config.data.unlabelled
    if source is None:
        model = f"the DDPM {storage.name_of(config.models.ddpm_url or TOY)}"
    else:
        model = f"a DDPM of {source.title}"
    size = plan.recipe["image_size"]
    return (
        f"Synthetic {size}x{size} images with a class for every pixel: sampled from "
        f"{model}, labelled by an ensemble on the DDPM's own features."
    )
