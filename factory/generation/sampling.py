"""Images of a DDPM as files, drawn in this process, without an ensemble and without Ray.

They are those that `factory generate` makes with the same settings and an ensemble whose features
are of fit.timesteps: an image depends on nothing else.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
import torch

from factory import png, storage
from factory.config import Config, check_section
from factory.differences import differences
from factory.diffusion.checkpoints import Model
from factory.errors import CannotCompile, GenerationFailed, UnreadableImage, UserError, counted
from factory.generation.image_sampler import ImageSampler
from factory.generation.local import threads_of_an_actor
from factory.generation.recipe import ImageRecipe, image_recipe
from factory.images import UInt8
from factory.labeling.commands import load_ddpm
from factory.labeling.fitting import places_of_features
from factory.pictures import tile
from factory.progress import bar, tell
from factory.shards.free_place import check_free
from factory.shards.schema import sample_key

RECIPE, SHEET = "samples.recipe.json", "samples.sheet.png"
"""Sources of images do not read files of such endings."""
_MAX_ON_SHEET = 100
_SHOWN_PIXELS = 128
"""Small images are enlarged on the sheet to about so many pixels."""


@dataclass(frozen=True)
class Prepared:
    """What is known before an image is drawn."""

    ddpm: Model
    recipe: ImageRecipe
    folder: storage.Folder
    there: Collection[str]
    """The names of the files that are there."""
    missing: Sequence[range]
    """The batches of which an image is missing, by the indices of their images."""


def recipe_of(config: Config, ddpm: Model) -> ImageRecipe:
    """The recipe by which the config's images are drawn. Raises UserError."""
    return image_recipe(config.generate, ddpm, *places_of_features(ddpm, config))


def check(config: Config) -> Prepared:
    """Raises UserError for all that would stop `sample`; writes nothing."""
    check_section(config, "generate")
    ddpm = load_ddpm(config)
    recipe, folder = recipe_of(config, ddpm), storage.Folder(config.sample.url)
    storage.check_writable(folder.url)
    existing = folder.entries()
    _check_same(folder, _told(config, recipe), existing)
    missing = [
        batch
        for batch in _batches(config.sample.num, config.generate.samples_per_shard, recipe)
        if any(_name(i) not in existing for i in batch)
    ]
    return Prepared(ddpm, recipe, folder, existing, missing)


def sample(config: Config) -> str:
    """Writes the images that are missing at sample.url, then the sheet; returns the sheet's URL.

    Raises UserError before anything is begun; GenerationFailed where images cannot be drawn;
    OSError.
    """
    prepared = check(config)
    folder, num = prepared.folder, config.sample.num
    if storage.is_local(folder.url):
        storage.remove_abandoned(folder.url)
    if not folder.exists(RECIPE):
        folder.write(RECIPE, _told(config, prepared.recipe))
    done = sum(_name(i) in prepared.there for i in range(num))
    tell(f"sample | {done:,} of {counted(num, 'image')} are there | {folder.url}")
    with threads_of_an_actor(config.generate), bar("sample", num, "images", done) as shown:
        for start, images in _drawn(prepared):
            for i, image in enumerate(images, start=start):
                if _name(i) not in prepared.there:
                    folder.write(_name(i), png.encode_png(image))
                    done += 1
            shown.move(done)
    _write_sheet(folder, min(num, _MAX_ON_SHEET))
    tell(f"sample | complete | {counted(num, 'image')} | {folder.url_of(SHEET)}")
    return folder.url_of(SHEET)


def draw(ddpm: Model, recipe: ImageRecipe, num: int) -> Iterator[UInt8]:
    """Yields images 0..num-1, (S, S, C), of one shard. Raises what `Drawing.drawn` does."""
    for images, _ in ImageSampler(ddpm, recipe).drawn(0, num):
        yield from images


def _drawn(prepared: Prepared) -> Iterator[tuple[int, list[UInt8]]]:
    """Yields the first index and the images of each batch that is missing."""
    if not prepared.missing:
        return
    try:
        sampler = ImageSampler(prepared.ddpm, prepared.recipe)
        for batch in prepared.missing:
            ((images, _),) = sampler.drawn(batch.start, batch.stop)
            yield batch.start, images
    except (CannotCompile, ArithmeticError, MemoryError, torch.OutOfMemoryError) as error:
        what = " ".join(str(error).split()) or type(error).__name__
        raise GenerationFailed(f"{what} Images that are there are kept.") from error


def _batches(num: int, samples_per_shard: int, recipe: ImageRecipe) -> Iterator[range]:
    """Yields the batches as `generate` draws them, which never cross a shard."""
    for shard in range(0, num, samples_per_shard):
        end = min(shard + samples_per_shard, num)
        for start in range(shard, end, recipe.batch_size):
            yield range(start, min(start + recipe.batch_size, end))


def _name(index: int) -> str:
    return f"{sample_key(index)}.png"


def _told(config: Config, recipe: ImageRecipe) -> bytes:
    """The content of RECIPE: all that decides the images, whatever their number."""
    told = {
        **recipe.model_dump(mode="json"),
        "samples_per_shard": config.generate.samples_per_shard,
    }
    return (json.dumps(told, indent=1, sort_keys=True) + "\n").encode()


def _check_same(folder: storage.Folder, told: bytes, existing: Any) -> None:
    """Raises UserError where other images, or anything else, lie in the folder."""
    if RECIPE not in existing:
        check_free(folder.url, existing)
        return
    try:
        known = json.loads(folder.read_bytes(RECIPE))
    except ValueError:
        raise UserError(f"{folder.url_of(RECIPE)}: is damaged. Name a new folder.") from None
    if found := differences(known, json.loads(told)):
        raise UserError(
            f"{folder.url}: holds images of other settings. Name another --out, or go back to the "
            "old settings. The difference:\n  " + "\n  ".join(found)
        )


def _write_sheet(folder: storage.Folder, num: int) -> None:
    images = []
    for i in range(num):
        try:
            images.append(np.atleast_3d(png.decode_png(folder.read_bytes(_name(i)))))
        except UnreadableImage as error:
            raise UserError(
                f"{folder.url_of(_name(i))}: {error}. Delete it and run the same command again."
            ) from None
    columns = ceil(sqrt(num))
    rows = [images[i : i + columns] for i in range(0, num, columns)]
    scale = max(1, _SHOWN_PIXELS // len(images[0]))
    folder.write(SHEET, png.encode_png(tile(rows, scale)))
