"""The dataset card: README.md of a finished dataset, for the Hugging Face Hub and for people."""

import html
import re
from collections.abc import Mapping
from typing import Any

import yaml

from factory.classes import Classes

_SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
)
_LARGER = ((10**7, "1M<n<10M"), (10**8, "10M<n<100M"), (10**9, "100M<n<1B"))

_BODY = """
# Synthetic image/mask pairs

{description}

{num:,} images with a class id for every pixel. A diffusion model drew the images; an ensemble of
pixel classifiers on that model's own features labelled them. No person checked them one by one.

## Columns

| column | meaning |
|---|---|
| `key` | unique name: the nine-digit index of the sample |
| `image` | RGB picture, PNG |
| `mask` | 8-bit grey PNG of the same size; value = class id, 255 = ignore |
| `labels` | class ids present in the mask, sorted, then -1 up to the number of classes |
| `height`, `width` | pixels |
| `seed` | the random stream of this sample |
| `uncertainty` | disagreement of the ensemble: Jensen-Shannon divergence in nats, mean over the \
most uncertain 10 % of the pixels; filter by its quantiles |
| `class_fractions` | share of all pixels per class id |
| `model_id` | hash of the models that made the pair |

{layout}

## Classes

| id | name | colour |
|---|---|---|
{classes}

## How it was made

| setting | value |
|---|---|
{run}

## Loading

{loading}

## Limits

- Labels are predictions. Keep rows of low `uncertainty` where precision matters.
- The images show what the training images showed, their gaps and biases included.
- A diffusion model may memorise training images: treat these images as if they could show some.
"""

_PARQUET_LAYOUT = "Each row of the Parquet files below `data/` is one sample."

_TAR_LAYOUT = """Each sample is three members of a tar below `data/`: `{key}.image.png`,
`{key}.mask.png` and `{key}.json`, which holds the other columns."""

_PARQUET_LOADING = """```python
from datasets import load_dataset                      # this folder, or its name on the Hub
dataset = load_dataset(".", split="train")
image, mask = dataset[0]["image"], dataset[0]["mask"]  # PIL; the mask keeps its ids

import pandas as pd
table = pd.read_parquet("data")
table["mask"][0]["bytes"]                              # not table.mask: pandas has a method mask

import ray.data                                        # pictures as {"bytes": ..., "path": ...}
rows = ray.data.read_parquet("data")

from factory.shards.reader import ShardDataset, read_dataset
samples = ShardDataset(".", keep=0.8)                  # torch; the most certain 80 %
arrays = read_dataset(".", keep=0.8)                   # Ray Data: arrays, for iter_torch_batches
```"""

_TAR_LOADING = """```python
import glob, io
import numpy as np, webdataset
from PIL import Image
shards = sorted(glob.glob("data/*.tar"))
for sample in webdataset.WebDataset(shards, shardshuffle=False):
    image = np.array(Image.open(io.BytesIO(sample["image.png"])))
    mask = np.array(Image.open(io.BytesIO(sample["mask.png"])))  # decode("pil") makes masks RGB

from datasets import load_dataset                      # this folder, or its name on the Hub
dataset = load_dataset(".", split="train")             # columns image.png, mask.png, json

import pandas as pd
table = pd.DataFrame(dataset["json"])                  # everything but the pictures
# In Parquet shards: df["mask"], not df.mask, which is a pandas method.

from factory.shards.reader import ShardDataset, read_dataset
samples = ShardDataset(".", keep=0.8)                  # torch; the most certain 80 %
arrays = read_dataset(".", keep=0.8)                   # Ray Data: arrays, for iter_torch_batches
```"""


def dataset_card(
    classes: Classes, num: int, license: str, description: str, run: Mapping[str, str]
) -> str:
    """README.md: YAML front matter by which `datasets` opens the folder, then words.

    license: a Hugging Face licence id. run: settings to tell; its `format` ("parquet", the
    default, or "webdataset") decides the columns. All of them may hold any text.
    """
    tar = run.get("format") == "webdataset"
    front = {
        "license": license,
        "task_categories": ["image-segmentation"],
        "tags": ["synthetic"],
        "size_categories": [size_category(num)],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": f"data/*.{'tar' if tar else 'parquet'}"}],
            }
        ],
        "dataset_info": {"features": _tar_features(classes) if tar else _features(classes)},
    }
    body = _BODY.format(
        description=escape_markdown(description),
        num=num,
        layout=_TAR_LAYOUT if tar else _PARQUET_LAYOUT,
        loading=_TAR_LOADING if tar else _PARQUET_LOADING,
        classes=_class_table(classes),
        run="\n".join(
            f"| {escape_markdown(name)} | {escape_markdown(value)} |" for name, value in run.items()
        ),
    )
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n{body}"


def size_category(num: int) -> str:
    """The Hub's name for a number of rows, such as "1K<n<10K"."""
    return next((name for limit, name in _SIZES + _LARGER if num < limit), "n>1B")


def escape_markdown(text: str) -> str:
    """Text that Markdown and HTML show as it is: on one line, also in a table, and no links."""
    line = html.escape(" ".join(text.split()), quote=False)
    line = re.sub(r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", line)
    # GitHub's and the Hub's Markdown makes links of bare addresses.
    return re.sub(r"(https?|ftp|www)([:.])", r"\1\\\2", line, flags=re.IGNORECASE)


def _class_table(classes: Classes) -> str:
    rows = zip(classes.names, classes.palette, strict=True)
    return "\n".join(
        f"| {i} | {escape_markdown(name)} | `#{red:02x}{green:02x}{blue:02x}` |"
        for i, (name, (red, green, blue)) in enumerate(rows)
    )


def _fields(classes: Classes) -> list[dict[str, Any]]:
    return [
        {"name": "labels", "list": {"class_label": {"names": classes.id2label}}},
        {"name": "height", "dtype": "int32"},
        {"name": "width", "dtype": "int32"},
        {"name": "seed", "dtype": "int64"},
        {"name": "uncertainty", "dtype": "float32"},
        {"name": "class_fractions", "list": "float32"},
        {"name": "model_id", "dtype": "string"},
    ]


def _features(classes: Classes) -> list[dict[str, Any]]:
    return [
        {"name": "key", "dtype": "string"},
        {"name": "image", "dtype": "image"},
        {"name": "mask", "dtype": "image"},
        *_fields(classes),
    ]


def _tar_features(classes: Classes) -> list[dict[str, Any]]:
    return [
        {"name": "image.png", "dtype": "image"},
        {"name": "mask.png", "dtype": "image"},
        {
            "name": "json",
            "struct": [{"name": "key", "dtype": "string"}, *_fields(classes)],
        },
        {"name": "__key__", "dtype": "string"},
        {"name": "__url__", "dtype": "string"},
    ]
