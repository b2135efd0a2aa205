"""Makes a dataset of either stage: workers make the shards that are missing, the ledger counts."""

import os
import platform
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from factory import storage
from factory.config import Config, ShardsConfig, check_section, dump_config
from factory.errors import Incomplete, UserError, counted, shown
from factory.generation.hardware import libraries, processor
from factory.generation.planning import Planned, Stage, planned
from factory.generation.recipe import Models, load_models
from factory.generation.stages import settings_of
from factory.progress import tell
from factory.ray_internals.environment import is_submitted_job
from factory.shards.ledger import Ledger
from factory.shards.manifest import Manifest
from factory.shards.plan import Plan
from factory.shards.reading import read_hardware
from factory.shards.receipts import score_of
from factory.values import EMBEDDED, TOY


def check(config: Config, stage: Stage = "generate") -> Ledger:
    """The ledger of the dataset that `make` makes; starts and writes nothing.

    Raises UserError for all that would stop it.
    """
    return _prepare(config, stage).ledger


@dataclass(frozen=True)
class _Prepared:
    """What is known of a dataset before anything is started or written."""

    ledger: Ledger
    planned: Planned
    models: Models | None
    """The models for workers in this process; None for actors, which load their own."""


def _prepare(config: Config, stage: Stage, models: Models | None = None) -> _Prepared:
    """models: those of the config if they are loaded already."""
    check_section(config, stage)
    settings: ShardsConfig = config.label if stage == "label" else config.generate
    _check_workers(settings)
    models = models or load_models(config)
    url = settings.url
    # Before the plan, for which all images may have to be read.
    if not storage.check_writable(url):
        tell(
            f"warning: {url}: this store replaces files in spite of create-only writes. Never run "
            "two commands on one dataset at once there."
        )
    wanted = planned(config, stage, models)
    read_hardware(url)
    extend = stage == "generate" and config.generate.extend
    ledger = Ledger.resolve(url, wanted.plan, extend)
    return _Prepared(ledger, wanted, models if settings.workers == "here" else None)


def _check_workers(settings: ShardsConfig) -> None:
    """Raises UserError if the workers cannot be started, or if their work would be lost."""
    url = settings.url
    # The folder of a submitted job is thrown away.
    if is_submitted_job() and storage.is_local(url) and storage.lies_in(url, os.getcwd()):
        raise UserError(
            f"{settings.section}.url: {url} lies in the job's own folder, which is thrown away. "
            "Name an absolute path that all nodes share, or a URL such as s3://bucket/prefix."
        )
    if settings.workers == "ray":
        from factory.generation import ray_actors

        ray_actors.check_capacity(settings)


def generate(config: Config, models: Models | None = None) -> Manifest:
    """Makes the dataset of pairs at generate.url; see `make`."""
    return make(config, "generate", models)


def label(config: Config, models: Models | None = None) -> Manifest:
    """Makes the dataset of labels at label.url; see `make`."""
    return make(config, "label", models)


def make(config: Config, stage: Stage, models: Models | None = None) -> Manifest:
    """Makes the dataset of a stage, or what is still missing of it.

    models: those of the config if they are loaded already. Raises UserError before anything is
    started, GenerationFailed where shards keep failing.
    """
    prepared = _prepare(config, stage, models)
    ledger, models = prepared.ledger, prepared.models
    url, plan = ledger.url, ledger.plan
    pending = ledger.pending()
    if pending and settings_of(config, plan).workers == "ray":
        from factory import cluster

        # First: a plan that is left behind would be in the way of the next one.
        cluster.connect()
    ledger.start(dump_config(config), environment())
    prepared.planned.keep(url)
    tell(
        f"{stage} | run {plan.run_id} | {plan.num_shards - len(pending)}/{plan.num_shards} "
        f"shards are there | {url}"
    )
    if pending:
        make_shards(config, plan, pending, models=models)
    manifest = complete(config, ledger, proven=pending)
    made = f"{counted(manifest.rows, 'pair')}, {counted(manifest.bytes, 'byte')}"
    if (score := score_of(manifest.receipts)) is not None:
        for line in score.lines(plan.classes):
            tell(shown(f"{stage} | {line}"))
    ignores = plan.recipe.get("ignored_above") is not None
    if ignores and not any(sum(receipt.class_pixels) for receipt in manifest.receipts):
        tell(
            f"{stage} | warning: all pixels of all masks are ignored, and nothing can be learned "
            f"from them: begin a dataset with a larger {stage}.ignore_uncertainty at another --out"
        )
    tell(f"{stage} | complete | {made} | {url}")
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
    if settings_of(config, plan).workers == "here":
        from factory.generation import local

        local.make_shards(config, plan, shards, replace, models)
    else:
        from factory.generation import ray_actors

        ray_actors.make_shards(config, plan, shards, replace)


def complete(config: Config, ledger: Ledger, proven: Collection[int]) -> Manifest:
    """Finishes the run. Where a receipt turns out to be of no use, its shard is made again.

    proven: the shards that are known to be whole. Raises GenerationFailed, Incomplete, OSError.
    """
    texts = _description(config, ledger.plan), settings_of(config, ledger.plan).license
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


def _description(config: Config, plan: Plan) -> str:
    model = _ddpm_in_words(config)
    size = plan.recipe["image_size"]
    if plan.command == "label":
        images = config.label.source.title if config.label.source else "a source"
        if (run_id := plan.recipe["relabels"]) is not None:
            images = f"the dataset {images} (run {run_id})"
        return f"Images of {images}, labelled by an ensemble on the features of {model}."
    return (
        f"Synthetic {size}x{size} images with a class for every pixel: sampled from "
        f"{model}, labelled by an ensemble on the DDPM's own features."
    )


def _ddpm_in_words(config: Config) -> str:
    """The DDPM by what it learned from if this config's `train` makes it, or by its name."""
    source, url = config.data.unlabelled, config.models.ddpm_url or TOY
    is_of_config = url == storage.join(config.train.url, "model")
    is_embedded = url in EMBEDDED and source is not None and source.kind == TOY
    if source is not None and (is_of_config or is_embedded):
        return f"a DDPM of {source.title}"
    return f"the DDPM {storage.name_of(url)}"
