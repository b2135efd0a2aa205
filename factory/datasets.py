"""The functions that make datasets with a segmenter and open them, as `import factory` offers them.

Settings are the keys of a section of `factory.config`, as in a YAML file.
"""

import inspect
from collections.abc import Mapping
from typing import Any, Literal, overload

import numpy as np

from factory import embedded, storage
from factory.arguments import (
    NOT_OF_SAMPLE,
    Location,
    check_type,
    config_of,
    path_of,
    refuse,
)
from factory.config import Config
from factory.diffusion.checkpoints import Model, load_model
from factory.errors import UserError, nearest
from factory.generation import sampling
from factory.generation.local import threads_of_an_actor
from factory.generation.planning import Stage
from factory.generation.recipe import Models, make_plan
from factory.generation.row_images import RowImages
from factory.generation.synthesizer import Synthesizer
from factory.images import UInt8
from factory.labeling import commands
from factory.labeling.heads import head_hash
from factory.segmenter import Segmenter
from factory.shards.reader import ShardDataset, ShardIndex
from factory.shards.reading import check_flag, read_plan
from factory.shards.schema import Sample


@overload
def sample(model: Segmenter, num: int, **settings: Any) -> list[Sample]: ...


@overload
def sample(model: Model, num: int, **settings: Any) -> UInt8: ...


def sample(model: Segmenter | Model, num: int, **settings: Any) -> list[Sample] | UInt8:
    """num pairs of a segmenter, or images (N, S, S, C) of a DDPM alone, made in this process and
    kept in memory; settings: section `generate`.

    They are those of a dataset of the same settings, whose batch size is part of what decides
    them. Of a DDPM, `timesteps` are those of the features of the ensemble that labels it, as for
    `fit`: sampling passes them. Raises UserError; CannotChoose where too few draws are what
    `select` and `min_training_distance` ask for.
    """
    check_type("model", model, Segmenter, Model)
    refuse(settings, "sample", **NOT_OF_SAMPLE)
    num = config_of("sample", generate={"num": num}).generate.num
    own = {"num": num, "samples_per_shard": num}
    if isinstance(model, Model):
        return _images(model, {**settings, **own})
    config = config_of("sample", generate={**settings, **own})
    models = Models(model.ddpm, model.ensemble, head_hash(model.ensemble))
    plan = make_plan(config, models)
    with threads_of_an_actor(config.generate):
        maker = Synthesizer(models, plan, config.generate.max_draws)
        return list(maker.samples(plan.shard(0)))


def _images(ddpm: Model, settings: dict[str, Any]) -> UInt8:
    nothing = "no masks are made of a DDPM alone"
    chosen = dict.fromkeys(("select", "min_training_distance", "max_draws"), nothing)
    refuse(settings, "sample", vote=nothing, feature_source=nothing, **chosen)
    fit = {"timesteps": settings.pop("timesteps")} if "timesteps" in settings else {}
    config = config_of("sample", generate=settings, fit=fit)
    recipe = sampling.recipe_of(config, ddpm)
    with threads_of_an_actor(config.generate):
        return np.stack(list(sampling.draw(ddpm, recipe, config.generate.num)))


def generate(
    segmenter: Segmenter,
    num: int | str,
    out: Location,
    *,
    workers: Literal["here", "ray"] = "ray",
    **settings: Any,
) -> ShardDataset:
    """Makes a dataset of num pairs, or what is still missing of it, and opens it.

    workers: "ray" = the actors of a pool, "here" = this process; the bytes are the same. settings:
    section `generate`. Raises UserError, where the segmenter is not saved for one, before anything
    is started; GenerationFailed; OSError.
    """
    from factory.generation import command

    check_type("segmenter", segmenter, Segmenter)
    refuse(settings, "generate", url="`out` says where the dataset lies")
    own = {"num": num, "url": path_of(out, "out"), "workers": workers}
    config, models = _prepared("generate", segmenter, {**settings, **own})
    command.generate(config, models)
    return open_dataset(config.generate.url)


def label(
    segmenter: Segmenter,
    images: Location | Mapping[str, Any],
    out: Location,
    *,
    workers: Literal["here", "ray"] = "ray",
    **settings: Any,
) -> ShardDataset:
    """Makes a dataset of labels for the images of a folder, a URL or a .zip, and opens it.

    images: or a finished dataset, which is labelled anew; or the keys of any source, such as
    {"kind": "pairs", "url": ..., "classes_url": ...}, of which masks are compared with those that
    are made: `score` of the result tells how well they agree. workers: "ray" = the actors of a
    pool, "here" = this process; the bytes are the same. settings: section `label`. What is made
    already is kept. Raises UserError before anything is started; GenerationFailed; OSError.
    """
    from factory.generation import command

    check_type("segmenter", segmenter, Segmenter)
    refuse(
        settings,
        "label",
        url="`out` says where the dataset lies",
        source="`images` says which images are labelled",
    )
    source = images
    if not isinstance(images, Mapping):
        source = {"kind": "folder", "url": path_of(images, "images")}
    own = {"source": source, "url": path_of(out, "out"), "workers": workers}
    config, models = _prepared("label", segmenter, {**settings, **own})
    command.label(config, models)
    return open_dataset(config.label.url)


def _prepared(
    stage: Stage, segmenter: Segmenter, settings: Mapping[str, Any]
) -> tuple[Config, Models]:
    """The config and the models of a dataset. Raises UserError."""
    if settings["workers"] != "here":
        storage.check_outlives("out", settings["url"])
    models = _saved_models(segmenter)
    urls = {"ddpm_url": embedded.ddpm_name(segmenter.ddpm.url), "ensemble_url": segmenter.url}
    return config_of(stage, models=urls, **{stage: settings}), models


@overload
def open_dataset(
    url: Location, *, random_access: Literal[False] = False, **options: Any
) -> ShardDataset: ...


@overload
def open_dataset(url: Location, *, random_access: Literal[True], **options: Any) -> ShardIndex: ...


def open_dataset(
    url: Location, *, random_access: bool = False, **options: Any
) -> ShardDataset | ShardIndex:
    """A finished dataset for torch: a stream of samples, or with random_access any by its number.

    options: of `ShardDataset`, or with random_access of `ShardIndex`. Mask files come together with
    the images that were labelled, from where these lie. Raises UserError.
    """
    check_flag("random_access", random_access)
    kind = ShardIndex if random_access else ShardDataset
    known = [name for name in inspect.signature(kind).parameters if name not in ("url", "images")]
    if unknown := sorted(set(options) - {*known}):
        of_streams = inspect.signature(ShardDataset).parameters
        raise UserError(
            [
                f"{name}: is an option of a stream alone. Leave random_access out."
                if name in of_streams
                else f"{name}: is no option. {nearest(name, known)}"
                for name in unknown
            ]
        )
    place = storage.normalize(path_of(url, "url"))
    images = RowImages(place) if read_plan(place).format == "png" else None
    return kind(place, images=images, **options)


def _saved_models(segmenter: Segmenter) -> Models:
    """The models of the folders that workers load.

    Raises UserError where these do not hold this segmenter.
    """
    if segmenter.url is None or not segmenter.ddpm.url:
        raise UserError(
            "the segmenter is not saved: workers, and `factory repair` later, load it. Call "
            "segmenter.save(FOLDER) first."
        )
    ddpm = load_model(embedded.ddpm_url(segmenter.ddpm.url))
    if ddpm.model_hash != segmenter.ddpm.model_hash:
        raise UserError(
            f"{ddpm.url}: holds another DDPM than the segmenter's, which was replaced there. Copy "
            "the segmenter's DDPM to another folder, load it from there, and fit anew."
        )
    ensemble, ensemble_hash = commands.load_ensemble_of(segmenter.url, ddpm)
    # The hash of the file would differ where the weights are stored in bfloat16.
    if head_hash(ensemble) != head_hash(segmenter.ensemble):
        raise UserError(
            f"{segmenter.url}: holds another ensemble than the segmenter's, which was replaced "
            "there. Save it again at another folder: segmenter.save(FOLDER)."
        )
    return Models(ddpm, ensemble, ensemble_hash)
