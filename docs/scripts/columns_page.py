"""The reference page of a dataset's columns, made from the table that formats and cards follow."""

from collections.abc import Sequence

from factory.shards.columns import COLUMNS, Column
from factory.shards.tar_metadata import PLACES

INTRODUCTION = """\
# Columns of a dataset

Every dataset has these columns, whatever its format. `datasets` decodes the images by itself. In
tars, the columns other than images are the fields of each sample's JSON.

*This page is made from the program's own table when the site is built.*

| column | type in Parquet | meaning |
|---|---|---|
"""

OF_TABLES = """
## Columns of the tables beside tars

The Parquet files in `metadata/` have all of these but the pictures, and then:

| column | type in Parquet | meaning |
|---|---|---|
"""


def page() -> str:
    """The page in Markdown: a row for each column."""
    return INTRODUCTION + _rows(COLUMNS) + OF_TABLES + _rows(PLACES)


def _rows(columns: Sequence[Column]) -> str:
    return "".join(
        f"| `{column.name}` | {_type(column)} | {column.meaning} |\n" for column in columns
    )


def _type(column: Column) -> str:
    if column.dtype == "image":
        return "struct<bytes, path>"
    return f"list<{column.dtype}>" if column.is_list else column.dtype
