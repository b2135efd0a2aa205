"""The functions that programs and notebooks call; `import factory` offers all of them.

    import factory

    ddpm = factory.load_ddpm("toy")
    labelled = factory.read_labelled("labelled", "labelled/classes.json", ddpm.image_size)
    segmenter = factory.fit(ddpm, labelled)
    segmenter.save("out/segmenter")
    pairs = factory.generate(segmenter, 1000, "out/pairs", workers="here")

Shapes: N images, S image size, C channels (3 for RGB, 1 for grey), H height, W width. Settings are
the keys of a section of `factory.config`, as in a YAML file; unknown ones are refused with
UserError, as is everything that a user can mend. Lines of progress go to the logger "factory".
"""

import os
from collections.abc import Iterable, Mapping
from itertools import islice
from numbers import Integral
from typing import Any

import numpy as np
from PIL import Image

from factory import storage
from factory.arguments import (
    ClassForm,
    Images,
    Location,
    check_type,
    config_of,
    labelled_source,
    path_of,
    pixels_of,
    refuse,
)
from factory.classes import Classes
from factory.data import loading
from factory.data.items import StoredSource
from factory.data.loading import Labelled
from factory.diffusion.checkpoints import Model
from factory.errors import UnreadableImage, UserError
from factory.images import UInt8
from factory.labeling import commands
from factory.pictures import colorize, overlay, tile
from factory.png import decode_png, encode_png
from factory.segmenter import Segmenter
from factory.shards.reader import ShardDataset, ShardIndex
from factory.shards.schema import Sample
from factory.values import TOY

_SHOWN = 256
"""Images that are twice as large are shown with fewer pixels than they have."""


def load_ddpm(url: Location = TOY) -> Model:
    """A DDPM of a folder or URL in diffusers' layout, or the embedded toy one. Raises UserError."""
    return commands.load_ddpm(config_of("load_ddpm", models={"ddpm_url": path_of(url, "url")}))


def load_segmenter(url: Location = TOY, ddpm: Model | None = None) -> Segmenter:
    """An ensemble with the DDPM that it was fitted on, by default the embedded toy ones.

    Raises UserError.
    """
    place = path_of(url, "url")
    ddpm = load_ddpm() if ddpm is None else ddpm
    check_type("ddpm", ddpm, Model)
    folder = TOY if place == TOY else storage.normalize(place)
    ensemble, _ = commands.load_ensemble_of(folder, ddpm)
    return Segmenter(ddpm, ensemble, folder)


def load_images(
    url: Location, image_size: int, num: int | None = None, *, channels: int = 3, **keys: Any
) -> UInt8:
    """The images below a folder or URL, or the first num of them, as (N, S, S, C) uint8.

    They are cropped to squares, unless `fit` says otherwise, scaled, and made RGB or, with 1
    channel, grey. keys: further ones of a source of kind folder, such as `intensity` and `exif`.
    Raises UserError with a line per bad file.
    """
    named = {"kind": "folder", "url": path_of(url, "url"), "num": num}
    return loading.read_images(*_source("load_images", {**named, **keys}, image_size, channels))


def read_labelled(
    url: Location,
    classes: Location | ClassForm,
    image_size: int,
    *,
    channels: int = 3,
    **keys: Any,
) -> Labelled:
    """Images and masks of a folder or URL, at a size; images are RGB or, with 1 channel, grey.

    classes: a file of classes, or what such a file holds: names, or [{"name": ..., "ids": [...]}].
    keys: further ones of a source of kind pairs. Raises UserError with a line per bad file.
    """
    key = "classes_url" if isinstance(classes, str | os.PathLike) else "classes"
    named = {"kind": "pairs", "url": path_of(url, "url"), key: classes}
    return loading.read_labelled(*_source("read_labelled", {**named, **keys}, image_size, channels))


def labelled_arrays(images: Images, masks: Images, class_names: ClassForm) -> Labelled:
    """Images (N, S, S, 3), or grey (N, S, S), uint8 with masks (N, S, S) of class ids, uint8 or
    uint16, 255 = ignore.

    class_names: names, or [{"name": ..., "ids": [...]}, ...] for masks of other values; where the
    classes have colors, masks may be (N, S, S, 3) uint8. Raises UserError where shapes, types, ids
    or names do not fit.
    """
    source = labelled_source(images, masks, class_names)
    return loading.read_labelled(source, *source.images.shape[2:])


def train(
    images: Location | Images,
    out: Location,
    *,
    image_size: int | None = None,
    channels: int | None = None,
    **settings: Any,
) -> Model:
    """Trains a DDPM with Ray Train on a folder of images, or on arrays (N, S, S, 3), or grey
    (N, S, S), uint8.

    out: where the run lies; the same call goes on from its newest checkpoint. Arrays are written
    there first. image_size, channels: the network's, 64 and 3 if absent; arrays must have them.
    settings: section `train`. Raises UserError, TrainingFailed.
    """
    from factory.diffusion import training

    refuse(settings, "train", url="`out` says where the run lies")
    pixels = None if isinstance(images, str | os.PathLike) else pixels_of(images)
    if pixels is None:
        url = os.fspath(images)  # type: ignore[arg-type]
    else:
        url = storage.join(storage.normalize(path_of(out, "out")), "images")
        image_size = pixels.shape[1] if image_size is None else image_size
        channels = pixels.shape[3] if channels is None else channels
    size = 64 if image_size is None else image_size
    config = config_of(
        "train",
        data={
            "unlabelled": {"kind": "folder", "url": url},
            "image_size": size,
            "channels": channels,
        },
        train={"url": path_of(out, "out"), **settings},
    )
    storage.check_outlives("out", config.train.url)
    training.check_settings(config)
    if pixels is not None:
        pixels_of(pixels, config.data.side, config.data.num_channels)
        _write_images(pixels, url, begun=storage.exists(storage.join(config.train.url, "run.json")))
    return load_ddpm(training.train_checked(config))


def fit(ddpm: Model, labelled: Labelled, **settings: Any) -> Segmenter:
    """Fits an ensemble on labelled images of the DDPM's size; settings: section `fit`.

    Raises UserError.
    """
    check_type("ddpm", ddpm, Model)
    check_type("labelled", labelled, Labelled)
    refuse(settings, "fit", weights_dtype="weights are saved in float32")
    pixels_of(labelled.images, ddpm.image_size, ddpm.channels)
    config = config_of("fit", fit=settings)
    return Segmenter(ddpm, commands.fitted(ddpm, labelled, config))


def show(
    pairs: Sample | Labelled | Iterable[Sample | Mapping[str, Any]],
    classes: Classes | None = None,
    *,
    num: int = 16,
    scale: int | None = None,
) -> Image.Image:
    """A picture of the first num pairs, which a notebook displays: images above masks above both
    in one.

    pairs: samples, or labelled images, a `ShardDataset` or a `ShardIndex`, which also know their
    classes. scale: how many pixels high and wide a pixel is shown; by default so that images have
    128 to 512. Raises UserError where there is no pair.
    """
    classes = _classes_of(pairs) if classes is None else classes
    for name, number in (("num", num), ("scale", scale)):
        if number is None:
            continue
        if not isinstance(number, Integral) or isinstance(number, bool):
            raise UserError(f"{name}: must be a whole number, got {number!r}.")
        if number < 1:
            raise UserError(f"{name}: must be at least 1, got {number}.")
    check_type("classes", classes, Classes)
    check_type("pairs", pairs, Sample, Labelled, Iterable)
    if isinstance(pairs, Labelled):
        shown = list(zip(pairs.images[:num], pairs.masks[:num], strict=True))
    else:
        some = [pairs] if isinstance(pairs, Sample) else islice(pairs, num)
        shown = [_image_and_mask(pair) for pair in some]
    if not shown:
        raise UserError("pairs: is empty. Give one pair at least.")
    side = max(max(mask.shape) for _, mask in shown)
    if scale is None:
        step = max(1, side // _SHOWN)
        shown = [(image[::step, ::step], mask[::step, ::step]) for image, mask in shown]
    rows = [
        [image for image, _ in shown],
        [colorize(mask, classes) for _, mask in shown],
        [overlay(image, mask, classes) for image, mask in shown],
    ]
    return Image.fromarray(tile(rows, scale or max(1, 128 // side)))


def _classes_of(pairs: object) -> Classes:
    """The classes of what knows its own. Raises UserError for anything else."""
    if isinstance(pairs, Labelled):
        return pairs.classes
    if isinstance(pairs, ShardDataset | ShardIndex):
        return Classes(pairs.plan.class_names, pairs.plan.palette)
    raise UserError("classes: are missing. Give those of the segmenter: segmenter.classes.")


def _image_and_mask(pair: Sample | Mapping[str, Any]) -> tuple[UInt8, UInt8]:
    """An image (H, W, C) and its mask (H, W) of a sample, or of a row of a `ShardDataset`.

    Raises UserError for anything else.
    """
    if isinstance(pair, Sample):
        return pair.image, pair.mask
    if not isinstance(pair, Mapping) or not {"image", "mask"} <= pair.keys():
        raise UserError(
            f"pairs: a value of type {type(pair).__name__} is no pair. Give samples of "
            "`factory.sample`, or a dataset of `factory.open_dataset`."
        )
    return pair["image"].permute(1, 2, 0).numpy(), pair["mask"].numpy()


def _source(
    function: str, keys: Mapping[str, Any], image_size: int, channels: int
) -> tuple[StoredSource, int, int]:
    """Returns a source, and the size and the channels that it is read with.

    Raises UserError that names the keys.
    """
    named = {key: value for key, value in keys.items() if value is not None}
    if not isinstance(image_size, Integral):
        raise UserError(
            f"factory.{function}: image_size: must be a whole number, got {image_size!r}."
        )
    data = {"unlabelled": named, "image_size": image_size, "channels": channels}
    try:
        config = config_of(function, data=data).data
    except UserError as error:
        # The caller wrote the keys without their section.
        lines = [line.replace("data.unlabelled.", "") for line in error.problems]
        for name in ("image_size", "channels"):
            lines = [line.replace(f"data.{name}", name) for line in lines]
        raise UserError(lines) from None
    assert config.unlabelled is not None
    return config.unlabelled, config.side, config.num_channels


def _write_images(pixels: UInt8, url: str, begun: bool) -> None:
    """Writes images (N, S, S, C) to a folder, where they are not there yet.

    begun: True if a training on the images of this folder has begun, so that all must be there.
    Raises UserError, with nothing written, where the folder holds other images.
    """
    images = {storage.join(url, f"{i:07d}.png"): image for i, image in enumerate(pixels)}
    existing = set(storage.list_files(url))
    missing = images.keys() - existing
    if (
        existing - images.keys()
        or (begun and missing)
        or not all(_holds(file, images[file]) for file in sorted(existing))
    ):
        raise UserError(f"{url}: holds images of another training. Name another `out`.")
    for file in sorted(missing):
        storage.write(file, encode_png(images[file]))


def _holds(url: str, image: UInt8) -> bool:
    """True if an image file has these pixels."""
    try:
        return np.array_equal(np.atleast_3d(decode_png(storage.read_bytes(url))), image)
    except UnreadableImage:
        return False
