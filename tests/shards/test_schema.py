import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import yaml
from PIL import Image

from factory.classes import Classes
from factory.errors import DamagedShard
from factory.shards.card import dataset_card
from factory.shards.columns import arrow_schema
from factory.shards.schema import check_sample, encode_sample, from_fields, sample_key, to_fields


@pytest.fixture
def classes(make_plan) -> Classes:
    return make_plan().classes


def test_keys_sort_as_their_indices_and_hold_no_dot():
    keys = [sample_key(i) for i in (0, 9, 10, 42, 999_999_999)]
    assert keys[3] == "000000042"
    assert keys == sorted(keys) and not any("." in key for key in keys)


def test_ignored_pixels_are_no_label_but_count_in_the_shares(make_samples):
    mask = np.array([[0, 2], [255, 255]], np.uint8)
    sample = replace(make_samples(1)[0], mask=mask)
    assert sample.labels == [0, 2]
    assert sample.class_fractions(3) == [0.25, 0.0, 0.25]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mask": np.full((16, 16), 3, np.uint8)}, "ids"),
        ({"mask": np.zeros((8, 16), np.uint8)}, "image"),
        ({"uncertainty": float("nan")}, "uncertainty"),
    ],
)
def test_a_sample_that_breaks_the_contract_is_named(make_samples, change, words):
    sample = make_samples(1)[0]
    check_sample(sample, 3)
    with pytest.raises(DamagedShard, match=rf"000000000.*{words}"):
        check_sample(replace(sample, **change), 3)


def test_an_encoded_sample_holds_all_of_the_sample(make_samples):
    sample = make_samples(1)[0]
    encoded = encode_sample(sample, 3)
    back = from_fields(encoded.fields, encoded.image_png, encoded.mask_png)
    assert np.array_equal(back.image, sample.image) and np.array_equal(back.mask, sample.mask)
    assert to_fields(back, 3) == to_fields(sample, 3) == encoded.fields


def test_a_grey_image_is_one_channel_and_not_of_a_dataset_of_rgb_images(make_samples):
    sample = make_samples(1)[0]
    grey = replace(sample, image=sample.image[..., :1])
    encoded = encode_sample(grey, 3)
    assert Image.open(io.BytesIO(encoded.image_png)).mode == "L"
    back = from_fields(encoded.fields, encoded.image_png, encoded.mask_png)
    assert np.array_equal(back.image, grey.image)
    check_sample(back, 3, channels=1)
    for other, channels in ((back, 3), (sample, 1)):
        with pytest.raises(DamagedShard, match=f"where images have {channels} channel"):
            check_sample(other, 3, channels)


def test_unknown_ids_are_never_encoded(make_samples):
    with pytest.raises(DamagedShard, match="000000000"):
        encode_sample(make_samples(1)[0], 2)


@pytest.mark.parametrize("mode", ["RGBA", "P", "1", "LA"])
def test_pictures_of_other_modes_are_refused(make_samples, mode):
    encoded = encode_sample(make_samples(1)[0], 3)
    other = io.BytesIO()
    Image.new(mode, (16, 16)).save(other, format="PNG")
    for pictures in (
        (other.getvalue(), encoded.mask_png),
        (encoded.image_png, other.getvalue()),
        (encoded.image_png, encoded.image_png),
    ):
        with pytest.raises(DamagedShard, match=r"000000000.*RGB"):
            from_fields(encoded.fields, *pictures)


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_samples_may_be_encoded_early_and_beside_one_another(make_samples, make_plan, format):
    plan, samples = make_plan(format=format), make_samples(3)
    with ThreadPoolExecutor(3) as pool:
        encoded = list(pool.map(plan.encode_sample, samples))
    assert plan.pack(encoded) == plan.encode(samples)


def test_the_schema_is_the_one_that_datasets_writes(classes):
    from datasets import ClassLabel, Features, Image, List, Value

    theirs = Features(
        {
            "key": Value("string"),
            "image": Image(),
            "mask": Image(),
            "labels": List(ClassLabel(names=list(classes.names))),
            "height": Value("int32"),
            "width": Value("int32"),
            "seed": Value("int64"),
            "uncertainty": Value("float32"),
            "class_fractions": List(Value("float32")),
            "model_id": Value("string"),
        }
    ).arrow_schema
    ours = arrow_schema(classes, {"run_id": "r"})
    assert ours.equals(theirs, check_metadata=False)
    assert json.loads(ours.metadata[b"huggingface"]) == json.loads(theirs.metadata[b"huggingface"])
    assert json.loads(ours.metadata[b"id2label"]) == classes.id2label
    assert json.loads(ours.metadata[b"factory"]) == {"run_id": "r"}


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_the_cards_front_matter_survives_any_text(classes, format):
    license = "cc: by\n---\n# no"
    text = dataset_card(classes, 5000, license, "d\n---\n", {"format": format})
    _, front, body = re.split(r"^---$", text, maxsplit=2, flags=re.MULTILINE)
    content = yaml.safe_load(front)
    assert content["license"] == license
    assert content["size_categories"] == ["1K<n<10K"]
    assert content["task_categories"] == ["image-segmentation"] and content["tags"] == ["synthetic"]
    assert content["configs"][0]["data_files"][0]["path"].startswith("data/")
    assert '["mask"]' in body


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_the_cards_features_are_those_that_datasets_writes(classes, format):
    from datasets import Features

    text = dataset_card(classes, 5, "mit", "d", {"format": format})
    declared = yaml.safe_load(text.split("---\n")[1])["dataset_info"]["features"]
    assert Features._from_yaml_list(declared)._to_yaml_list() == declared
    if format == "parquet":
        metadata = json.loads(arrow_schema(classes, {}).metadata[b"huggingface"])
        features = Features.from_dict(metadata["info"]["features"])
        assert Features._from_yaml_list(declared) == features


def test_the_card_shows_hostile_text_as_text():
    hostile = "<img src=x onerror=alert(1)> | `x` [a](javascript:b)"
    classes = Classes.named(["background", hostile])
    body = dataset_card(classes, 5, "mit", hostile, {hostile: hostile}).split("---\n", 2)[2]
    assert body.count("&lt;img") == 4 and "<img" not in body
    assert "[a](" not in body
    (row,) = [line for line in body.splitlines() if line.startswith("| 1 |")]
    assert row.replace("\\|", "").count("|") == 4
