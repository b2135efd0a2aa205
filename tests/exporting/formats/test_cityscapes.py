"""Claims about `--to cityscapes`, read by the names of Cityscapes' own scripts."""

import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

import factory
from factory.pictures import colorize
from factory.shards.schema import Sample
from tests.exporting import made

NAME = re.compile(r"([a-z]+)_(\d{6})_(\d{6})_(leftImg8bit|gtFine_(labelIds|color))\.png")


def test_every_pixel_is_read_back(dataset: str, samples: list[Sample], tmp_path: Path) -> None:
    factory.export(dataset, "cityscapes", tmp_path / "out", val=0.3)
    seen: dict[str, list[int]] = {"train": [], "val": []}
    for path in sorted((tmp_path / "out" / "leftImg8bit").glob("*/*/*_leftImg8bit.png")):
        split, city = path.parts[-3:-1]
        named = NAME.fullmatch(path.name)
        assert named is not None and named[1] == city == "factory"
        index = int(named[2]) * 1_000_000 + int(named[3])
        fine = tmp_path / "out" / "gtFine" / split / city
        stem = path.name.removesuffix("_leftImg8bit.png")
        ids, color = (
            np.asarray(Image.open(fine / f"{stem}_gtFine_{kind}.png"))
            for kind in ("labelIds", "color")
        )
        assert np.array_equal(np.asarray(Image.open(path)), samples[index].image)
        assert np.array_equal(ids, samples[index].mask)
        assert np.array_equal(color, colorize(samples[index].mask, made.CLASSES))
        seen[split].append(index)
    assert sorted(seen["train"] + seen["val"]) == list(range(10)) and seen["val"]
    files = [path for path in (tmp_path / "out").rglob("*.png")]
    assert len(files) == 30 and all(NAME.fullmatch(path.name) for path in files)


def test_the_labels_say_what_the_ids_and_colours_mean(dataset: str, tmp_path: Path) -> None:
    factory.export(dataset, "cityscapes", tmp_path / "out")
    *labels, ignored = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert [label["name"] for label in labels] == list(made.NAMES)
    assert (
        [label["id"] for label in labels] == [label["trainId"] for label in labels] == [0, 1, 2, 3]
    )
    assert [tuple(label["color"]) for label in labels] == list(made.CLASSES.palette)
    assert (ignored["id"], ignored["ignoreInEval"]) == (255, True)
