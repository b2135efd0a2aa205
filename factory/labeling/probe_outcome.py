"""What a probe found, for people and for `factory fit`: a table, a heat map, JSON, a config."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from factory import storage
from factory.classes import Classes
from factory.config import Config, dump_config
from factory.errors import UserError
from factory.images import UInt8
from factory.labeling.linear_probe import Counts
from factory.labeling.probing import Choice, Probed
from factory.pictures import heat
from factory.png import encode_png
from factory.values import MIDDLE_BLOCK, block_word

FOUND, HEAT_MAP = "probe.json", "probe.png"
"""The names of files in the folder of a probe."""
DDPM = "ddpm_hash"
"""The key of FOUND for the hash of the DDPM whose features were measured."""
_WRITTEN = "# Written by `factory probe`: the config that it was given, with the features it chose."
"""The first line of a config that is written."""
_CELL = 48, 28
"""Width and height of a cell of the heat map in pixels."""
_DARKEST = 0.5
"""The part of the colours' range, from black, that the scores below the best one's half have."""


def write_outcome(probed: Probed, classes: Classes, config: Config) -> None:
    """Writes probe.json, probe.png and probe.yaml to probe.url."""
    url = config.probe.url
    text = json.dumps(as_json(probed, classes), indent=1) + "\n"
    storage.write(storage.join(url, FOUND), text.encode())
    storage.write(storage.join(url, HEAT_MAP), encode_png(heat_map(probed)))
    text = dump_config(with_choice(config, probed.chosen))
    storage.write(config.probe.config_url, f"{_WRITTEN}\n{text}".encode())


def check_replaceable(url: str) -> None:
    """Raises UserError where the config that `write_outcome` writes would replace another file."""
    remedy = "Choose another --out."
    try:
        is_ours = storage.read_text(url).startswith(_WRITTEN)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage.to_user_error(url, error, "read", remedy) from None
    except UnicodeDecodeError:
        is_ours = False
    if not is_ours:
        raise UserError(f"{url}: is none that `factory probe` wrote, and is kept. {remedy}")


def with_choice(config: Config, choice: Choice) -> Config:
    """The config with the chosen features for `fit`."""
    update = {"timesteps": choice.timesteps, "blocks": choice.blocks}
    return config.model_copy(update={"fit": config.fit.model_copy(update=update)})


def as_json(probed: Probed, classes: Classes) -> dict[str, Any]:
    """All that was found, as values that JSON has."""
    return {
        DDPM: probed.ddpm_hash,
        "num_images": probed.num_images,
        "num_pixels": probed.num_pixels,
        "num_folds": probed.num_folds,
        "timesteps": probed.timesteps,
        "blocks": list(map(block_word, probed.blocks)),
        "mean_iou_alone": probed.alone.round(4).tolist(),
        "steps": [_choice_as_json(choice) for choice in probed.steps],
        "chosen": _choice_as_json(probed.chosen) | {"iou": _iou(probed.chosen.counts, classes)},
        "present": _choice_as_json(probed.present) | {"iou": _iou(probed.present.counts, classes)},
    }


def _choice_as_json(choice: Choice) -> dict[str, Any]:
    return {
        "timesteps": choice.timesteps,
        "blocks": list(map(block_word, choice.blocks)),
        "mean_iou": round(choice.mean_iou, 4),
        "noise_of_gain": None if choice.noise is None else round(choice.noise, 4),
    }


def _iou(counts: Counts, classes: Classes) -> dict[str, float | None]:
    pairs = zip(classes.names, counts.iou().tolist(), strict=True)
    return {name: None if np.isnan(value) else round(value, 4) for name, value in pairs}


def table(probed: Probed) -> list[str]:
    """What was found, as lines of text."""
    return list(_lines(probed))


def _lines(probed: Probed) -> Iterator[str]:
    yield (
        f"mean IoU of each block at each timestep alone: a linear classifier on "
        f"{probed.num_pixels:,} pixels of {probed.num_images} images, cross-validated in "
        f"{probed.num_folds} parts of the images"
    )
    yield f"{'timestep':>8}" + "".join(f"{_title(block):>10}" for block in probed.blocks)
    for timestep, row in zip(probed.timesteps, probed.alone, strict=True):
        yield f"{timestep:>8}" + "".join(f"{value:>10.3f}" for value in row)
    yield "chosen step by step, each for a gain of mean IoU above its noise:"
    before = None
    for choice in probed.steps:
        gain = ""
        if before is not None and choice.noise is not None:
            gain = f" (+{choice.mean_iou - before:.3f}, noise {choice.noise:.3f})"
        yield f"{choice.mean_iou:>8.3f}  {choice.words()}{gain}"
        before = choice.mean_iou
    difference = probed.chosen.mean_iou - probed.present.mean_iou
    noise = probed.chosen.counts.noise_of_gain(probed.present.counts)
    verdict = "about as good"
    if abs(difference) > noise:
        verdict = "better" if difference > 0 else "worse"
    yield "as the config is now:"
    yield (
        f"{probed.present.mean_iou:>8.3f}  {probed.present.words()} "
        f"(what is chosen is {verdict}: {difference:+.3f}, noise {noise:.3f})"
    )


def _title(block: int) -> str:
    """The title of a block's column."""
    return f"{'' if block == MIDDLE_BLOCK else 'block '}{block_word(block)}"


def heat_map(probed: Probed) -> UInt8:
    """The mean IoU of each place alone, a row for each timestep, a column for each block.

    White is the best, black half of it or less; what is chosen has a frame.
    """
    (width, height), best = _CELL, float(probed.alone.max())
    colors = heat(np.clip(probed.alone / max(best, 1e-9) - _DARKEST, 0, None), 1 - _DARKEST)
    num_rows, num_columns = probed.alone.shape
    picture = Image.new("RGB", (width * (num_columns + 1), height * (num_rows + 1)), "white")
    picture.paste(
        Image.fromarray(np.kron(colors, np.ones((height, width, 1), np.uint8))), (width, height)
    )
    pen = ImageDraw.Draw(picture)
    for column, block in enumerate(probed.blocks):
        pen.text((width * (column + 1) + 4, 8), _title(block), fill="black")
    for row, timestep in enumerate(probed.timesteps):
        top = height * (row + 1)
        pen.text((4, top + 8), f"t {timestep}", fill="black")
        for column, block in enumerate(probed.blocks):
            left = width * (column + 1)
            ink = "black" if colors[row, column].sum() > 300 else "white"
            pen.text((left + 10, top + 8), f"{probed.alone[row, column]:.3f}", fill=ink)
            if timestep in probed.chosen.timesteps and block in probed.chosen.blocks:
                frame = (left + 1, top + 1, left + width - 2, top + height - 2)
                pen.rectangle(frame, outline=(0, 130, 255), width=2)
    result: UInt8 = np.asarray(picture)
    return result
