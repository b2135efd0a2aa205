"""Code that loads a dataset, by tool, as its card and its report show it."""

import re

_PARQUET = {
    "datasets": """\
from datasets import load_dataset                      # this folder, or its name on the Hub
dataset = load_dataset(".", split="train")
image, mask = dataset[0]["image"], dataset[0]["mask"]  # PIL; the mask keeps its ids
""",
    "pandas": """\
import pandas as pd
table = pd.read_parquet("data")
table["mask"][0]["bytes"]                              # not table.mask: pandas has a method mask
""",
    "Ray Data": """\
import ray.data                                        # pictures as {"bytes": ..., "path": ...}
rows = ray.data.read_parquet("data")
""",
}
_TAR = {
    "webdataset": """\
import glob, io
import numpy as np, webdataset
from PIL import Image
shards = sorted(glob.glob("data/*.tar"))
for sample in webdataset.WebDataset(shards, shardshuffle=False):
    image = np.array(Image.open(io.BytesIO(sample["image.png"])))
    mask = np.array(Image.open(io.BytesIO(sample["mask.png"])))  # decode("pil") makes masks RGB
""",
    "datasets": """\
from datasets import load_dataset                      # this folder, or its name on the Hub
dataset = load_dataset(".", split="train")             # columns image.png, mask.png, json
""",
    "pandas": """\
import pandas as pd
table = pd.DataFrame(dataset["json"])                  # everything but the pictures
# In Parquet shards: df["mask"], not df.mask, which is a pandas method.
""",
}
_METADATA = """\
import pandas as pd
table = pd.read_parquet("metadata")                    # everything but the pictures
"""
_MASKS = {
    "pandas": """\
import numpy as np, pandas as pd
from PIL import Image
table = pd.read_parquet("data")                        # a row for each image, without pictures
mask = np.array(Image.open(table["mask_path"][0]))     # class ids, 255 = ignore
""",
}
_MASKS_BESIDE_IMAGES = {
    "factory": """\
import factory
samples = factory.open_dataset(".", keep=0.8)          # torch; with the images that were labelled
""",
}
_FACTORY_OF_SPLIT = {
    "factory": """\
from factory.shards.reader import ShardDataset, read_dataset
samples = ShardDataset(".", split="train", keep=0.8)   # torch; the most certain 80 %
arrays = read_dataset(".", split="train", keep=0.8)    # Ray Data: arrays, for iter_torch_batches
""",
}
_FACTORY = {
    "factory": """\
from factory.shards.reader import ShardDataset, read_dataset
samples = ShardDataset(".", keep=0.8)                  # torch; the most certain 80 %
arrays = read_dataset(".", keep=0.8)                   # Ray Data: arrays, for iter_torch_batches
""",
}


def loading_snippets(
    format: str, mask_column: str = "mask", has_splits: bool = False, has_metadata: bool = False
) -> dict[str, str]:
    """Code that loads a dataset of this format from its own folder, by the name of the tool.

    mask_column: the name of the masks' column. has_splits: True if there is a validation split.
    has_metadata: True if a table lies beside each tar.
    """
    if format == "png":
        return {**_MASKS, **_MASKS_BESIDE_IMAGES}
    own = dict(_TAR if format == "webdataset" else _PARQUET)
    if has_metadata:
        own["pandas"] = _METADATA
    named = {tool: _with_mask_named(code, mask_column) for tool, code in own.items()}
    if not has_splits:
        return {**named, **_FACTORY}
    return {**{tool: _of_splits(code) for tool, code in named.items()}, **_FACTORY_OF_SPLIT}


def _of_splits(code: str) -> str:
    """The code for a dataset of two splits: for training, or it says that it reads both."""
    of_train = code.replace('"data/*.tar"', '"data/train-*.tar"')
    comment = "  # of both splits: train-* and validation-*"
    return re.sub(r'(read_parquet\("\w+"\)) *(#.*)?\n', rf"\1{comment}\n", of_train)


def _with_mask_named(code: str, mask_column: str) -> str:
    if mask_column == "mask":
        return code
    # What is said of pandas concerns the name mask alone.
    plain = re.sub(r" *#[^\n]*\bpandas\b[^\n]*", "", code)
    return plain.replace('["mask', f'["{mask_column}')
