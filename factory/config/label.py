"""The section `label`: which images get masks, and in which form."""

from typing import ClassVar

from factory.config.shards import ShardsConfig
from factory.data.kinds.known import SourceConfig
from factory.values import Url


class LabelConfig(ShardsConfig):
    """Masks, uncertainty and class shares for images of one's own."""

    section: ClassVar[str] = "label"

    url: Url = "out/run/labels"
    """The folder of the dataset; absent: the folder `labels` of train.url."""
    source: SourceConfig | None = None
    """The images. A finished dataset of this factory, as the url of a source of kind folder, is
    labelled anew."""
