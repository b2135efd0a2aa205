"""A finished dataset of blobs whose pixels the tests know, and what lies at a place."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np

from factory.classes import Classes
from factory.shards.ledger import Ledger
from factory.shards.packing import pack
from factory.shards.plan import Plan
from factory.shards.receipts import Circumstances
from factory.shards.schema import Sample, sample_key
from factory.storage import TEMPORARY
from tests import kept

HEIGHT, WIDTH = 13, 17
NAMES = ("background", "cat: 'big'", "nuclei ä", "line")
CLASSES = Classes.named(NAMES)


def draw(index: int, height: int | None = None, width: int | None = None) -> Sample:
    """A sample of blobs of all ids, with holes and single pixels; every fifth is background.

    Without a height and a width, those of neighbours differ, as in datasets of labels at the sizes
    of their images.
    """
    height = HEIGHT + index % 3 if height is None else height
    width = WIDTH + index % 4 if width is None else width
    rng = np.random.default_rng([11, index])
    heights = rng.normal(size=(height, width))
    heights += np.roll(heights, 1, 0) + np.roll(heights, 1, 1)
    ids = np.array([0, 1, 2, 3, 255], np.uint8)
    mask = ids[np.digitize(heights, [0.0, 1.0, 1.8, 2.6])]
    return Sample(
        key=sample_key(index),
        image=rng.integers(0, 256, (height, width, 3), np.uint8),
        mask=mask if index % 5 else np.zeros_like(mask),
        seed=index,
        uncertainty=float(np.float32(rng.random())),
        model_id="abc123",
    )


def write(
    url: str,
    num: int = 10,
    samples_per_shard: int = 3,
    size: tuple[int | None, int | None] = (None, None),
    sources: Sequence[str] = (),
    **changes: Any,
) -> list[Sample]:
    """Writes a finished dataset; returns its samples.

    sources: the names of the images that were labelled, one a sample, of a dataset that has them.
    """
    fields = {
        "num": num,
        "samples_per_shard": samples_per_shard,
        "format": "parquet",
        "class_names": NAMES,
        "palette": CLASSES.palette,
        "recipe": {"seed": 0},
    }
    plan = Plan(**{**fields, **changes})
    samples = [draw(i, *size) for i in range(num)]
    if sources:
        samples = [replace(each, source=sources[i]) for i, each in enumerate(samples)]
    what = ("exporting", plan.model_dump_json(), str(size), str(sources))
    kept.lay_down(url, what, lambda url: _write(url, plan, samples))
    return samples


def _write(url: str, plan: Plan, samples: list[Sample]) -> None:
    ledger = Ledger(url, plan)
    ledger.start(f"{plan.command}: {{license: cc0-1.0}}\n", {"python": "3"})
    for spec in plan.shards():
        files = pack(plan, spec, list(map(plan.encode_sample, samples[spec.start : spec.stop])))
        ledger.publish(spec, files, Circumstances(seconds=0.5, host="here"))
    ledger.finish("A test.", "cc0-1.0")


def contents(url: str) -> dict[str, bytes]:
    """The bytes of all files of a place by name, but for those that a killed process left."""
    if "://" in url:
        fs = fsspec.filesystem("memory")
        root = url.removeprefix("memory:/")
        found = {path.removeprefix(f"{root}/"): fs.cat_file(path) for path in fs.find(root)}
    else:
        paths = [path for path in Path(url).rglob("*") if path.is_file()]
        found = {path.relative_to(url).as_posix(): path.read_bytes() for path in paths}
    return {name: data for name, data in found.items() if not TEMPORARY.search(name)}
