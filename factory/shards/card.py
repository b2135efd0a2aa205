"""The dataset card: README.md of a finished dataset, for the Hugging Face Hub and for people."""

import html
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from factory.classes import Classes, css_color
from factory.shards.columns import COLUMNS, EXPECTED_IOU, Column, pictures_of
from factory.shards.snippets import loading_snippets
from factory.shards.splits import TRAIN, Split, SplitSize

_SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
)
_LARGER = ((10**7, "1M<n<10M"), (10**8, "10M<n<100M"), (10**9, "100M<n<1B"))
_TITLES = {True: "Synthetic image/mask pairs", False: "Images with predicted masks"}
"""Titles of datasets whose images were drawn, and of others."""


def dataset_card(
    classes: Classes,
    num: int,
    license: str,
    description: str,
    run: Mapping[str, str],
    columns: Sequence[Column] = COLUMNS,
    is_drawn: bool = True,
    command: str = "",
    splits: Mapping[Split, SplitSize] | None = None,
    has_metadata: bool = False,
) -> str:
    """Renders README.md: YAML front matter by which `datasets` opens the folder, then text.

    license: a Hugging Face licence id. run: settings to show; its `format` ("parquet", the
    default, or "webdataset") decides the columns. All of them may hold any text. is_drawn: False if
    the images are of a source. command: the line that makes the pairs again. splits: the size of
    each split; None: all is for training. has_metadata: True if a table lies beside each tar.
    """
    format = run.get("format", "parquet")
    splits = splits or {TRAIN: SplitSize(num, 0)}
    has_splits = len(splits) > 1
    tar = format == "webdataset"
    mask_column = "mask" if format == "png" else pictures_of(columns)[1]
    front = {**_about(license, num, is_drawn), **_data(classes, splits, columns, tar)}
    return TEMPLATES.get_template("card.md.j2").render(
        front=yaml.safe_dump(front, sort_keys=False),
        description=description,
        num=num,
        splits=splits if has_splits else None,
        has_metadata=has_metadata,
        is_drawn=is_drawn,
        title=_TITLES[is_drawn],
        tar=tar,
        mask_column=mask_column,
        of_files=format == "png",
        command=command,
        columns=meanings(columns),
        loading="\n".join(loading_snippets(format, mask_column, has_splits, has_metadata).values()),
        classes=[
            (name, css_color(color))
            for name, color in zip(classes.names, classes.palette, strict=True)
        ],
        run=run,
        is_expected=any(column.name == EXPECTED_IOU for column in columns),
    )


def _about(license: str, num: int, is_drawn: bool) -> dict[str, Any]:
    """The part of the front matter by which the Hub finds datasets."""
    return {
        "license": license,
        "pretty_name": _TITLES[is_drawn],
        "task_categories": ["image-segmentation"],
        "task_ids": ["semantic-segmentation"],
        "annotations_creators": ["machine-generated"],
        "source_datasets": ["original"],
        **({"tags": ["synthetic"]} if is_drawn else {}),
        "size_categories": [size_category(num)],
    }


def _data(
    classes: Classes, splits: Mapping[Split, SplitSize], columns: Sequence[Column], tar: bool
) -> dict[str, Any]:
    """The part of the front matter that says where the rows lie, and what they hold."""
    there = {split: size for split, size in splits.items() if size.rows}
    ending = "tar" if tar else "parquet"
    # A dataset of one split has all files of the folder.
    begin = {split: f"{split}-" if len(splits) > 1 else "" for split in there}
    files = [{"split": split, "path": f"data/{begin[split]}*.{ending}"} for split in there]
    return {
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {
            "features": (_tar_features if tar else features)(classes, columns),
            # Without the bytes `datasets` would pass over the numbers.
            "splits": [
                {"name": split, "num_bytes": size.bytes, "num_examples": size.rows}
                for split, size in there.items()
            ],
        },
    }


def size_category(num: int) -> str:
    """The Hub's name for a number of rows, such as "1K<n<10K"."""
    return next((name for limit, name in _SIZES + _LARGER if num < limit), "n>1B")


def escape_markdown(text: str) -> str:
    """Escapes text so that Markdown and HTML show it as it is, on one line and without links."""
    line = html.escape(" ".join(text.split()), quote=False)
    line = re.sub(r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", line)
    # GitHub's and the Hub's Markdown makes links of bare addresses.
    return re.sub(r"(https?|ftp|www)([:.])", r"\1\\\2", line, flags=re.IGNORECASE)


TEMPLATES = Environment(
    loader=PackageLoader("factory", "assets"),
    # Text in Markdown is escaped by `escape_markdown`.
    autoescape=False,
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)
TEMPLATES.filters["markdown"] = escape_markdown


def _feature(column: Column, classes: Classes) -> dict[str, Any]:
    """A column as the front matter of a card declares it."""
    if column.of_classes:
        return {"name": column.name, "list": {"class_label": {"names": classes.id2label}}}
    return {"name": column.name, "list" if column.is_list else "dtype": column.dtype}


def features(classes: Classes, columns: Sequence[Column] = COLUMNS) -> list[dict[str, Any]]:
    """The columns of Parquet shards as the front matter of a card declares them."""
    return [_feature(column, classes) for column in columns]


def _tar_features(classes: Classes, columns: Sequence[Column]) -> list[dict[str, Any]]:
    fields = [column for column in columns if column.dtype != "image"]
    return [
        *(
            {"name": f"{column.name}.png", "dtype": "image"}
            for column in columns
            if column.dtype == "image"
        ),
        {"name": "json", "struct": [_feature(column, classes) for column in fields]},
        {"name": "__key__", "dtype": "string"},
        {"name": "__url__", "dtype": "string"},
    ]


def meanings(columns: Sequence[Column] = COLUMNS) -> list[tuple[str, str]]:
    """Names and meanings; columns of one meaning share a row."""
    return [
        (", ".join(f"`{column.name}`" for column in alike), meaning)
        for meaning, alike in groupby(columns, key=lambda column: column.meaning)
    ]
