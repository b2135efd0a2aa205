"""The section `label`: which images get masks, and in which form."""

from typing import ClassVar, Literal

from factory.config.shards import ShardsConfig
from factory.data.kinds.known import SourceConfig
from factory.values import Url


class LabelConfig(ShardsConfig):
    """Masks, uncertainty and class shares for images of one's own."""

    section: ClassVar[str] = "label"

    url: Url = "out/run/labels"
    """The folder of the dataset; absent: the folder `labels` of train.url."""
    at: Literal["model", "original"] = "model"
    """The size of the rows. model: images and masks are the squares that the network takes;
    original: images are upright and whole, and masks are brought back to their size, with 255
    where the network saw nothing. Shards are in memory while they are made: they have 100 images
    then if samples_per_shard is absent."""
    format: Literal["parquet", "webdataset", "png"] = "parquet"
    """parquet: rows of a Parquet file; webdataset: members of a tar file; png: a PNG of each mask
    below `masks/`, under the name of its image, and tables of all else, without images."""
    score: bool | Literal["auto"] = "auto"
    """True if the masks are compared with those of the source, and scores are told. auto: where the
    source has masks; a dataset that was begun goes on as it was."""
    unreadable: Literal["refuse", "skip"] = "refuse"
    """The way with images, and compared masks, that cannot be read: skip names them, and labels all
    others."""
    source: SourceConfig | None = None
    """The images. A finished dataset of this factory, as the url of a source of kind folder, is
    labelled anew."""
