"""The formats of shards, and what the names of their files end with."""

from types import ModuleType

from factory.shards import mask_files, parquet, webdataset

FORMATS: dict[str, ModuleType] = {
    "parquet": parquet,
    "webdataset": webdataset,
    "png": mask_files,
}

ENDINGS = {"parquet": ".parquet", "webdataset": ".tar", "png": ".parquet"}
"""Endings of the names of shards."""
