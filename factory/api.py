"""What programs and notebooks call; `import factory` offers all of it.

    import factory

    ddpm = factory.load_ddpm("toy")
    labelled = factory.read_labelled("labelled", "labelled/classes.json", ddpm.image_size)
    segmenter = factory.fit(ddpm, labelled)
    segmenter.save("out/segmenter")
    pairs = factory.generate(segmenter, 1000, "out/pairs", workers="here")

Shapes: N images, S image size, H height, W width. Settings are the keys of a section of
`factory.config`, as in a YAML file; unknown ones are refused with UserError, as is everything that
a user can mend. Lines of progress go to the logger "factory".
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from factory import storage
from factory.classes import IGNORE_ID, Classes
from factory.config import TOY, Config, parse_config
from factory.data import loading
from factory.data.arrays import ArraySource
from factory.data.items import StoredSource
from factory.data.loading import Labelled
from factory.diffusion.checkpoints import Model
from factory.errors import UserError
from factory.generation.local import threads_of_an_actor
from factory.generation.recipe import Models, make_plan
from factory.generation.synthesizer import Synthesizer
from factory.images import UInt8
from factory.labeling import commands, evaluation
from factory.labeling.evaluation import Evaluation
from factory.labeling.fitting import image_maps
from factory.labeling.head import Head
from factory.labeling.heads import check_replaceable, head_hash, save_head
from factory.pictures import colorize, overlay, tile
from factory.png import encode_png
from factory.shards.reader import ShardDataset
from factory.shards.schema import Sample

Place = str | os.PathLike[str]
"""A path, or a URL of a store such as s3://bucket/prefix."""


@dataclass(frozen=True)
class Segmentation:
    """What a segmenter says of N images."""

    masks: UInt8
    """(N, S, S) class ids."""
    uncertainty: npt.NDArray[np.float32]
    """(N, S, S): Jensen-Shannon divergence of the ensemble's members, nats."""


@dataclass
class Segmenter:
    """A frozen DDPM and an ensemble on its features: they label every pixel of an image."""

    ddpm: Model
    ensemble: Head
    url: str | None = None
    """Where the ensemble lies; None until it is saved."""

    @property
    def classes(self) -> Classes:
        """Names and colours of the classes."""
        return Classes(self.ensemble.config.class_names, self.ensemble.config.palette)

    @property
    def image_size(self) -> int:
        """Height and width of the images that it labels, in pixels."""
        return self.ddpm.image_size

    def segment(self, images: UInt8, vote: Literal["soft", "hard"] = "soft") -> Segmentation:
        """Labels images (N, S, S, 3), uint8, of the DDPM's size; vote: as `Labels.masks`.

        Raises UserError where they are not of that kind.
        """
        _check_images(images, self.image_size)
        with torch.inference_mode():
            maps = image_maps(self.ddpm, self.ensemble.config, images)
            labels = self.ensemble.label(maps, self.image_size)
        return Segmentation(labels.masks(vote).cpu().numpy(), labels.uncertainty.cpu().numpy())

    def evaluate(self, labelled: Labelled, **settings: Any) -> Evaluation:
        """Scores on labelled images of the DDPM's size; settings: section `evaluate`.

        Raises UserError where their classes are not those of the ensemble.
        """
        _check_images(labelled.images, self.image_size)
        return evaluation.evaluate(
            self.ddpm, self.ensemble, labelled, _config("evaluate", evaluate=settings)
        )

    def save(self, url: Place) -> None:
        """Writes the ensemble. Raises UserError where something else lies there, OSError."""
        place = storage.normalize(os.fspath(url))
        check_replaceable(place)
        save_head(self.ensemble, place)
        self.url = place


def load_ddpm(url: Place = TOY) -> Model:
    """A DDPM of a folder or URL in diffusers' layout, or the embedded toy one. Raises UserError."""
    return commands.load_ddpm(_config("load_ddpm", models={"ddpm_url": os.fspath(url)}))


def load_segmenter(url: Place = TOY, ddpm: Model | None = None) -> Segmenter:
    """An ensemble with the DDPM that it was fitted on, by default the embedded toy ones.

    Raises UserError.
    """
    ddpm = ddpm or load_ddpm()
    ensemble, _ = commands.load_ensemble_of(os.fspath(url), ddpm)
    return Segmenter(ddpm, ensemble, os.fspath(url))


def read_images(url: Place, image_size: int, num: int | None = None) -> UInt8:
    """The images below a folder or URL, or the first num of them, as (N, S, S, 3) uint8.

    They are cropped to squares and scaled. Raises UserError with a line per bad file.
    """
    source = _source({"kind": "folder", "url": os.fspath(url), "num": num})
    return loading.read_images(source, image_size)


def read_labelled(url: Place, classes_url: Place, image_size: int, **keys: Any) -> Labelled:
    """Images and masks of a folder or URL, at a size; keys: further ones of a source of kind
    pairs.

    Raises UserError with a line per bad file.
    """
    named = {"kind": "pairs", "url": os.fspath(url), "classes_url": os.fspath(classes_url)}
    return loading.read_labelled(_source({**named, **keys}), image_size)


def labelled_arrays(images: UInt8, masks: UInt8, class_names: Sequence[str]) -> Labelled:
    """Images (N, S, S, 3) with masks (N, S, S) of class ids, 255 = ignore, both uint8.

    Raises UserError where shapes, types or ids do not fit.
    """
    images, masks = np.asarray(images), np.asarray(masks)
    _check_images(images, images.shape[1] if images.ndim > 1 else 0)
    if masks.dtype != np.uint8 or masks.shape != images.shape[:3]:
        raise UserError(
            f"masks: must be uint8 of shape {images.shape[:3]}, as the images are, got "
            f"{masks.dtype} of shape {masks.shape}."
        )
    beyond = set(np.unique(masks).tolist()) - {*range(len(class_names)), IGNORE_ID}
    if beyond:
        raise UserError(
            f"masks: hold ids {sorted(beyond)} beyond the {len(class_names)} classes. Name more "
            f"classes, or set these pixels to {IGNORE_ID}, which is ignored."
        )
    source = ArraySource(images, masks, Classes.named(class_names))
    return loading.read_labelled(source, images.shape[1])


def train(
    images: Place | UInt8,
    out: Place,
    *,
    image_size: int | None = None,
    **settings: Any,
) -> Model:
    """Trains a DDPM with Ray Train on a folder of images, or on an array (N, S, S, 3) uint8.

    out: where the run lies; the same call goes on from its newest checkpoint. An array is written
    there first. image_size: of the network; an array's own if absent, else 64. settings: section
    `train`. Raises UserError, TrainingFailed.
    """
    from factory.diffusion.training import train

    if isinstance(images, np.ndarray):
        image_size = image_size or images.shape[1]
        images = _written(images, storage.join(storage.normalize(os.fspath(out)), "images"))
    config = _config(
        "train",
        data={
            "unlabelled": {"kind": "folder", "url": os.fspath(images)},
            **({"image_size": image_size} if image_size else {}),
        },
        train={"url": os.fspath(out), **settings},
    )
    return load_ddpm(train(config))


def fit(ddpm: Model, labelled: Labelled, **settings: Any) -> Segmenter:
    """Fits an ensemble on labelled images of the DDPM's size; settings: section `fit`.

    Raises UserError.
    """
    _check_images(labelled.images, ddpm.image_size)
    config = _config("fit", fit=settings)
    return Segmenter(ddpm, commands.fitted(ddpm, labelled, config))


def sample(segmenter: Segmenter, num: int, **settings: Any) -> list[Sample]:
    """num pairs, made in this process and kept in memory; settings: section `generate`.

    They are those of a dataset of the same settings, whose batch size is part of what decides
    them. Raises UserError.
    """
    config = _config("sample", generate={**settings, "num": num, "samples_per_shard": num})
    models = Models(segmenter.ddpm, segmenter.ensemble, head_hash(segmenter.ensemble))
    plan = make_plan(config, models)
    with threads_of_an_actor(config.generate):
        return list(Synthesizer(models, plan).samples(plan.shard(0)))


def generate(
    segmenter: Segmenter,
    num: int | str,
    out: Place,
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

    if segmenter.url is None or not segmenter.ddpm.url:
        raise UserError(
            "the segmenter is not saved: workers, and `factory repair` later, load it. Call "
            "segmenter.save(FOLDER) first."
        )
    config = _config(
        "generate",
        models={"ddpm_url": segmenter.ddpm.url, "ensemble_url": segmenter.url},
        generate={**settings, "num": num, "url": os.fspath(out), "workers": workers},
    )
    command.generate(config)
    return open_dataset(config.generate.url)


def open_dataset(url: Place, **options: Any) -> ShardDataset:
    """A finished dataset for torch; options: of `ShardDataset`. Raises UserError."""
    return ShardDataset(url, **options)


def show(pairs: Sequence[Sample], classes: Classes, scale: int | None = None) -> Image.Image:
    """A picture of pairs, which a notebook displays: images above masks above both in one.

    scale: how many pixels high and wide a pixel is shown; by default about 128 an image.
    """
    if not pairs:
        raise UserError("pairs: is empty. Give one pair at least.")
    rows = [
        [pair.image for pair in pairs],
        [colorize(pair.mask, classes) for pair in pairs],
        [overlay(pair.image, pair.mask, classes) for pair in pairs],
    ]
    return Image.fromarray(tile(rows, scale or max(1, 128 // len(pairs[0].mask))))


def _config(place: str, **sections: Mapping[str, Any]) -> Config:
    return parse_config(sections, f"factory.{place}")


def _source(keys: Mapping[str, Any]) -> StoredSource:
    """Raises UserError."""
    named = {key: value for key, value in keys.items() if value is not None}
    source = _config("data", data={"unlabelled": named}).data.unlabelled
    assert source is not None
    return source


def _check_images(images: UInt8, image_size: int) -> None:
    """Raises UserError where they are not (N, S, S, 3) uint8 of that size."""
    given = np.asarray(images)
    if given.dtype != np.uint8 or given.ndim != 4 or given.shape[1:] != (image_size, image_size, 3):
        raise UserError(
            f"images: must be uint8 of shape (N, {image_size}, {image_size}, 3), got "
            f"{given.dtype} of shape {given.shape}. `factory.read_images` crops and scales files."
        )


def _written(images: UInt8, url: str) -> str:
    """The folder that images (N, S, S, 3) are written to, where they are not there yet."""
    _check_images(images, images.shape[1] if images.ndim > 1 else 0)
    there = {storage.name_of(place) for place in storage.list_files(url)}
    names = [f"{i:07d}.png" for i in range(len(images))]
    if there - set(names):
        raise UserError(f"{url}: holds other images. Name another `out`, or remove them.")
    for name, image in zip(names, images, strict=True):
        storage.write(storage.join(url, name), encode_png(image))
    return url
