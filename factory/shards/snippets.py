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
_FACTORY = {
    "factory": """\
from factory.shards.reader import ShardDataset, read_dataset
samples = ShardDataset(".", keep=0.8)                  # torch; the most certain 80 %
arrays = read_dataset(".", keep=0.8)                   # Ray Data: arrays, for iter_torch_batches
""",
}


def loading_snippets(format: str, mask_column: str = "mask") -> dict[str, str]:
    """Code that loads a dataset of this format from its own folder, by the name of the tool.

    mask_column: the name of the masks' column.
    """
    if format == "png":
        return {**_MASKS, **_MASKS_BESIDE_IMAGES}
    own = _TAR if format == "webdataset" else _PARQUET
    named = {tool: _with_mask_named(code, mask_column) for tool, code in own.items()}
    return {**named, **_FACTORY}


def _with_mask_named(code: str, mask_column: str) -> str:
    if mask_column == "mask":
        return code
    # What is said of pandas concerns the name mask alone.
    plain = re.sub(r" *#[^\n]*\bpandas\b[^\n]*", "", code)
    return plain.replace('["mask', f'["{mask_column}')
