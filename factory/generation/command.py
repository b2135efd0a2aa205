"""Makes a dataset: workers make the shards that are missing, and the ledger counts."""

import os
import platform
from collections.abc import Collection, Sequence
from importlib.metadata import version

from factory import storage
from factory.config import Config, check_section, dump_config
from factory.errors import Incomplete, UserError, counted
from factory.generation.hardware import libraries, processor
from factory.generation.recipe import Models, load_models, make_plan
from factory.progress import tell
from factory.ray_internals.environment import is_submitted_job
from factory.shards.ledger import Ledger
from factory.shards.manifest import Manifest
from factory.shards.plan import Plan
from factory.shards.reading import read_hardware
from factory.values import TOY


def check(config: Config) -> Ledger:
    """The ledger of the dataset that `generate` makes; starts and writes nothing.

    Raises UserError for all that would stop it.
    """
    return _prepare(config)[0]


def _prepare(config: Config, models: Models | None = None) -> tuple[Ledger, Models | None]:
    """The ledger; and the models for workers in this process, while actors load their own.

    models: those of the config if they are loaded already.
    """
    check_section(config, "generate")
    _check_workers(config)
    models = models or load_models(config)
    url, plan = config.generate.url, make_plan(config, models)
    if not storage.check_writable(url):
        tell(
            f"warning: {url}: this store replaces files in spite of create-only writes. Never run "
            "two commands on one dataset at once there."
        )
    read_hardware(url)
    ledger = Ledger.resolve(url, plan, config.generate.extend)
    return ledger, models if config.generate.workers == "here" else None


def _check_workers(config: Config) -> None:
    """Raises UserError if the workers cannot be started, or if their work would be lost."""
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


def generate(config: Config, models: Models | None = None) -> Manifest:
    """Makes the dataset at generate.url, or what is still missing of it.

    models: those of the config if they are loaded already. Raises UserError before anything is
    started, GenerationFailed where shards keep failing.
    """
    ledger, models = _prepare(config, models)
    url, plan = ledger.url, ledger.plan
    pending = ledger.pending()
    if pending and config.generate.workers == "ray":
        from factory import cluster

        # First: a plan that is left behind would be in the way of the next one.
        cluster.connect()
    ledger.start(dump_config(config), environment())
    tell(
        f"generate | run {plan.run_id} | {plan.num_shards - len(pending)}/{plan.num_shards} "
        f"shards are there | {url}"
    )
    if pending:
        make_shards(config, plan, pending, models=models)
    manifest = complete(config, ledger, proven=pending)
    made = f"{counted(manifest.rows, 'pair')}, {counted(manifest.bytes, 'byte')}"
    tell(f"generate | complete | {made} | {url}")
    return manifest


def make_shards(
    config: Config,
    plan: Plan,
    shards: Sequence[int],
    replace: bool = False,
    models: Models | None = None,
) -> None:
    """Makes these shards; raises GenerationFailed where one is not.

    replace: as for `Ledger.publish`. models: those of the config if they are loaded already, which
    workers in this process then need not do again.
    """
    if config.generate.workers == "here":
        from factory.generation import local

        local.make_shards(config, plan, shards, replace, models)
    else:
        from factory.generation import ray_actors

        ray_actors.make_shards(config, plan, shards, replace)


def complete(config: Config, ledger: Ledger, proven: Collection[int]) -> Manifest:
    """Finishes the run. Where a receipt turns out to be of no use, its shard is made again.

    proven: the shards that are known to be whole. Raises GenerationFailed, Incomplete, OSError.
    """
    texts = _description(config, ledger.plan), config.generate.license
    try:
        return ledger.finish(*texts, proven=proven)
    except Incomplete as incomplete:
        make_shards(config, ledger.plan, incomplete.shards)
        return ledger.finish(*texts, proven={*proven, *incomplete.shards})


def environment() -> dict[str, str]:
    """Returns versions and processor of the driver, nothing of the user's own environment."""
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
