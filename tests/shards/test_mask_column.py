"""Claims about datasets whose column of masks is called label or annotation."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from factory.shards.ledger import Ledger
from factory.shards.reader import ShardDataset, ShardIndex
from factory.shards.verification import verify

NUM = 7


@pytest.fixture(params=["label", "annotation"])
def column(request) -> str:
    return request.param


@pytest.fixture(params=["parquet", "webdataset"])
def format(request) -> str:
    return request.param


@pytest.fixture
def url(tmp_path, make_plan, write_dataset, column, format) -> str:
    recipe = {**make_plan().recipe, "mask_column": column}
    write_dataset(str(tmp_path / "out"), make_plan(format=format, recipe=recipe))
    return str(tmp_path / "out")


def test_our_readers_give_the_same_samples_under_the_same_names(url, make_samples):
    index = ShardIndex(url)
    for i, (row, put) in enumerate(zip(ShardDataset(url), make_samples(NUM), strict=True)):
        assert np.array_equal(row["mask"], put.mask) and np.array_equal(index[i]["mask"], put.mask)
    assert verify(url, "decode").findings == []


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_finds_images_and_masks_by_the_name(
    url, column, format, streaming, make_samples, monkeypatch, tmp_path
):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    import datasets

    rows = datasets.load_dataset(
        url, split="train", streaming=streaming, cache_dir=str(tmp_path / "cache")
    )
    image, mask = ("image", column) if format == "parquet" else ("image.png", f"{column}.png")
    for row, put in zip(rows, make_samples(NUM), strict=True):
        assert row[mask].mode == "L"
        assert np.array_equal(row[image], put.image) and np.array_equal(row[mask], put.mask)


@pytest.mark.parametrize("format", ["parquet"], indirect=True)
def test_the_steps_of_a_training_script_for_segmentation_open_the_folder(
    url, make_plan, make_samples, monkeypatch, tmp_path
):
    """What scripts do that take --dataset_name: rename annotation, read id2label.json of the
    dataset, and take images as RGB and masks as arrays."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    import datasets

    dataset = datasets.load_dataset(url, cache_dir=str(tmp_path / "cache"))
    if "annotation" in dataset["train"].column_names:
        dataset = dataset.rename_columns({"annotation": "label"})
    assert isinstance(dataset["train"].features["label"], datasets.Image)
    id2label = json.loads(Path(url, "id2label.json").read_text())
    names = {int(key): value for key, value in id2label.items()}
    assert tuple(names.values()) == make_plan().class_names

    def arrays(batch: dict[str, Any]) -> dict[str, Any]:
        images = [np.array(image.convert("RGB")) for image in batch["image"]]
        return {"pixel_values": images, "labels": [np.array(mask) for mask in batch["label"]]}

    dataset["train"].set_transform(arrays)
    first = dataset["train"][0]
    assert np.array_equal(first["labels"], make_samples(1)[0].mask)
    assert np.array_equal(first["pixel_values"], make_samples(1)[0].image)


def test_the_card_and_its_code_name_it(url, column, format):
    card = Path(url, "README.md").read_text()
    assert f"`{column}`" in card and "`mask`" not in card and "a method mask" not in card
    assert f'["{column}' in card and '["mask' not in card
    if format == "webdataset":
        assert f"`{{key}}.{column}.png`" in card


@pytest.mark.parametrize("format", ["parquet"], indirect=True)
def test_other_tools_read_it_as_any_column(url, column, make_samples):
    import pandas

    table = pandas.read_parquet(Path(url, "data"))
    masks = [np.array(Image.open(io.BytesIO(each["bytes"]))) for each in table[column]]
    assert np.array_equal(masks, [sample.mask for sample in make_samples(NUM)])


def test_another_name_is_another_plan(url, make_plan, format):
    from factory.errors import UserError

    with pytest.raises(UserError, match=r"recipe\.mask_column"):
        Ledger.resolve(url, make_plan(format=format))
