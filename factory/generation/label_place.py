"""Whether a dataset of labels may lie where it is to lie, if that is among the images."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from factory import storage
from factory.config import Config
from factory.data.files.trees import is_junk
from factory.data.sections import FileSection
from factory.errors import DamagedShard, UserError
from factory.shards import mask_files

_FILES = {
    "parquet": ("data/train-00000.parquet",),
    "webdataset": ("data/train-00000.tar", "metadata/train-00000.parquet"),
    "png": ("data/labels-00000.parquet",),
}
"""Files of a dataset, by its format, which stand for all of their ending; masks aside."""


def check_place(config: Config) -> None:
    """Raises UserError where the dataset would be mixed with the images."""
    url, source = config.label.url, config.label.source
    if not isinstance(source, FileSection) or storage.path_in(url, source.url) != "":
        return
    raise UserError(
        f"label.url: {url} is the place of the images, which a dataset would be mixed with. Name a "
        "place of its own."
    )


def check_files(config: Config, names: Sequence[str]) -> None:
    """Raises UserError where files of the dataset would be taken for images, or for their masks.

    names: of the images.
    """
    settings, source = config.label, config.label.source
    if not isinstance(source, FileSection):
        return
    below = storage.path_in(settings.url, source.url)
    if below is None:
        return
    for file in _files(settings.format, names):
        path = f"{below}/{file}"
        if source.may_read(path) and not is_junk(path):
            raise UserError(
                f"label.url: {settings.url} lies among the images, and what is written there would "
                f"be taken for such: {file}. Name a place outside of them."
            )


def _files(format: str, names: Sequence[str]) -> Iterator[str]:
    """Files that a dataset of labels for images of these names has."""
    yield from _FILES[format]
    if format == "png":
        for name in names:
            with suppress(DamagedShard):  # A name that no mask can have is told where it is used.
                yield mask_files.path_of(name, with_ending=False)
