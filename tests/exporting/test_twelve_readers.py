"""Twelve readers of other packages open one dataset and its exports, and find the same pixels."""

import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import factory
from factory.images import UInt8
from tests.exporting import made

pytestmark = pytest.mark.slow

Rows = Iterator[tuple[str, UInt8, UInt8]]
"""The key, the image (H, W, 3) and the mask (H, W) of each pair."""


class Places:
    """A dataset of Parquet shards, and exports of it, each made when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dataset = str(root / "dataset")
        # Batches of torch's are of one size.
        self.samples = made.write(self.dataset, size=(made.HEIGHT, made.WIDTH))

    def export(self, to: str, **options: Any) -> Path:
        out = self.root / to
        if not out.exists():
            factory.export(self.dataset, to, out, **options)
        return out

    @property
    def shards(self) -> list[str]:
        return sorted(str(path) for path in Path(self.dataset, "data").iterdir())


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(tmp_path_factory.mktemp("readers"))


def pixels(picture: Any) -> UInt8:
    """Those of a picture that is decoded, or of its bytes, alone or in a struct."""
    if isinstance(picture, dict):
        picture = picture["bytes"]
    return np.asarray(Image.open(io.BytesIO(picture)) if isinstance(picture, bytes) else picture)


def of_rows(rows: Iterable[Any]) -> Rows:
    for row in rows:
        yield row["key"], pixels(row["image"]), pixels(row["mask"])


def datasets_map(places: Places, load_dataset: Callable[..., Any]) -> Rows:
    return of_rows(load_dataset(places.dataset, split="train"))


def datasets_streaming(places: Places, load_dataset: Callable[..., Any]) -> Rows:
    return of_rows(load_dataset(places.dataset, split="train", streaming=True))


def imagefolder(places: Places, load_dataset: Callable[..., Any]) -> Rows:
    out = places.export("imagefolder")
    return of_rows(load_dataset("imagefolder", data_dir=str(out), split="train"))


def webdataset(places: Places, _: object) -> Rows:
    import webdataset

    tars = sorted(map(str, (places.export("webdataset") / "data").iterdir()))
    for row in webdataset.WebDataset(tars, shardshuffle=False):
        yield row["__key__"], pixels(row["image.png"]), pixels(row["mask.png"])


def pandas(places: Places, _: object) -> Rows:
    import pandas

    return of_rows(pandas.read_parquet(places.shards).to_dict("records"))


def polars(places: Places, _: object) -> Rows:
    import polars

    return of_rows(polars.read_parquet(places.shards).to_dicts())


def duckdb(places: Places, _: object) -> Rows:
    import duckdb

    with duckdb.connect() as connection:
        query = "SELECT key, image, mask FROM read_parquet(?)"
        for key, image, mask in connection.execute(query, [places.shards]).fetchall():
            yield key, pixels(image), pixels(mask)


def pyarrow(places: Places, _: object) -> Rows:
    import pyarrow.dataset

    return of_rows(pyarrow.dataset.dataset(places.shards).to_table().to_pylist())


def ray_data(places: Places, _: object) -> Rows:
    import ray.data

    return of_rows(ray.data.read_parquet(places.shards).take_all())


def torch_data_loader(places: Places, _: object) -> Rows:
    from torch.utils.data import DataLoader

    # Workers of a process that has threads must not be forked.
    loader = DataLoader(
        factory.open_dataset(places.dataset),
        batch_size=4,
        num_workers=2,
        multiprocessing_context="spawn",
    )
    for batch in loader:
        images = batch["image"].permute(0, 2, 3, 1).numpy()
        yield from zip(batch["key"], images, batch["mask"].numpy(), strict=True)


def pycocotools(places: Places, _: object) -> Rows:
    from pycocotools.coco import COCO

    out = places.export("coco", background=True)
    coco = COCO(str(out / "annotations" / "instances_train.json"))
    for number, told in coco.imgs.items():
        mask = np.zeros((told["height"], told["width"]), np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=number)):
            class_id = coco.cats[annotation["category_id"]]["class_id"]
            is_ignored = annotation["iscrowd"] == 1
            mask[coco.annToMask(annotation) == 1] = 255 if is_ignored else class_id
        path = out / "train" / told["file_name"]
        yield path.stem, pixels(path.read_bytes()), mask


def layout_of_ultralytics(places: Places, _: object) -> Rows:
    with warnings.catch_warnings():
        # It says that it does without OpenCV.
        warnings.simplefilter("ignore")
        import supervision

    out = places.export("yolo", background=True)
    read = supervision.DetectionDataset.from_yolo(
        images_directory_path=str(out / "images" / "train"),
        annotations_directory_path=str(out / "labels" / "train"),
        data_yaml_path=str(out / "data.yaml"),
        force_masks=True,
    )
    for path, image, found in read:
        # What is in no polygon is of no class.
        mask = np.full(image.shape[:2], 255, np.uint8)
        for class_id, region in zip(found.class_id, found.mask, strict=True):
            mask[region] = class_id
        # It reads images as OpenCV does, blue first.
        yield Path(path).stem, image[..., ::-1], mask


READERS = [
    datasets_map,
    datasets_streaming,
    webdataset,
    pytest.param(ray_data, marks=pytest.mark.ray),
    pandas,
    polars,
    duckdb,
    pyarrow,
    torch_data_loader,
    pycocotools,
    layout_of_ultralytics,
    imagefolder,
]


@pytest.mark.parametrize("read", READERS)
def test_twelve_readers_find_the_same_pixels(
    places: Places,
    load_dataset: Callable[..., Any],
    read: Callable[[Places, Callable[..., Any]], Rows],
    request: pytest.FixtureRequest,
) -> None:
    if read is ray_data:
        request.getfixturevalue("ray_session")
    found = {key: (image, mask) for key, image, mask in read(places, load_dataset)}
    assert sorted(found) == [sample.key for sample in places.samples]
    for sample in places.samples:
        image, mask = found[sample.key]
        assert image.dtype == mask.dtype == np.uint8
        assert np.array_equal(image, sample.image)
        assert np.array_equal(mask, sample.mask)
