"""Ray's own readers open exports, in an actor as a training worker is one, and find the pixels."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import factory
from factory.images import UInt8
from tests.exporting import made

pytestmark = pytest.mark.slow

Pairs = dict[str, tuple[UInt8, UInt8]]
"""The image (H, W, 3) and the mask (H, W) of each key."""


def pixels(picture: Any) -> UInt8:
    """Those of a picture that is decoded, or of its bytes, alone or in a struct."""
    if isinstance(picture, dict):
        picture = picture["bytes"]
    return np.asarray(Image.open(io.BytesIO(picture)) if isinstance(picture, bytes) else picture)


def parquet(out: Path) -> Pairs:
    import ray.data

    rows = ray.data.read_parquet(str(out)).iter_rows()
    return {row["key"]: (pixels(row["image"]), pixels(row["mask"])) for row in rows}


def webdataset(out: Path) -> Pairs:
    import ray.data

    rows = ray.data.read_webdataset(str(out / "data")).iter_rows()
    return {row["__key__"]: (row["image.png"], row["mask.png"]) for row in rows}


def imagefolder(out: Path) -> Pairs:
    import ray.data

    found = []
    for name in ("images", "masks"):
        rows = ray.data.read_images(str(out / "train" / name), include_paths=True).iter_rows()
        found.append({Path(row["path"]).stem: row["image"] for row in rows})
    images, masks = found
    return {key: (image, masks[key]) for key, image in images.items()}


def shard_dataset(out: Path) -> Pairs:
    rows = factory.open_dataset(out)
    return {
        row["key"]: (row["image"].permute(1, 2, 0).numpy(), row["mask"].numpy()) for row in rows
    }


@pytest.mark.parametrize("read", [parquet, webdataset, imagefolder, shard_dataset])
def test_what_ray_reads_of_an_export_in_an_actor_has_the_same_pixels(
    ray_session: str, tmp_path: Path, read: Callable[[Path], Pairs]
) -> None:
    import ray

    samples = made.write(str(tmp_path / "dataset"))
    if read is not shard_dataset:
        factory.export(tmp_path / "dataset", read.__name__, tmp_path / "out")

    class Actor:
        def read(self) -> Pairs:
            return read(tmp_path / ("dataset" if read is shard_dataset else "out"))

    found = ray.get(ray.remote(Actor).remote().read.remote())
    assert sorted(found) == [sample.key for sample in samples]
    for sample in samples:
        image, mask = found[sample.key]
        assert np.array_equal(image, sample.image) and np.array_equal(mask, sample.mask)
