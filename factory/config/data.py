"""The section `data`: the images of the domain, and where they come from."""

from typing import Annotated, Literal

from pydantic import Field

from factory.data.kinds.known import SourceConfig
from factory.values import MAX_IMAGE_SIZE, Count, Folder, Positive, Section


class DataConfig(Section):
    """The images of the domain."""

    image_size: Annotated[Count, Field(le=MAX_IMAGE_SIZE)] | None = None
    """Height and width in pixels; images of other sizes are scaled, and those that are not square
    made square as `fit` of their source says. If it is absent, it is the preset's. `train` and
    `inspect` need it; models bring their own size."""
    channels: Literal[1, 3] | None = None
    """3: RGB, in which grey images are repeated; 1: grey, to which colours are converted by their
    luma (ITU-R 601-2). If it is absent, it is 3 for `train` and `inspect`; models bring their own,
    which it must then be."""
    unlabelled: SourceConfig | None = None
    """The images that the DDPM learns from."""
    labelled: SourceConfig | None = None
    """The few labelled images that the ensemble learns from."""
    test: SourceConfig | None = None
    """Labelled images, none of them in `labelled`, for `factory evaluate`."""
    cache_dir: Folder | None = None
    """The folder in which each machine keeps the decoded images that `train` reads; absent:
    factory/images in $XDG_CACHE_HOME or ~/.cache. New images replace those used longest ago."""
    cache_gib: Positive = 100.0
    """The most that the cache may hold on each machine."""

    @property
    def num_channels(self) -> int:
        """The channels of images that no model tells: those that are set, or 3."""
        return self.channels or 3

    @property
    def side(self) -> int:
        """The image_size, of which the command has made sure that it is set."""
        assert self.image_size is not None
        return self.image_size
