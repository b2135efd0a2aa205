"""The section `data`: the images of the domain, and where they come from."""

from typing import Annotated

from pydantic import Field

from factory.data.kinds.known import SourceConfig
from factory.values import MAX_IMAGE_SIZE, Count, Folder, Positive, Section


class DataConfig(Section):
    """The images of the domain."""

    image_size: Annotated[Count, Field(le=MAX_IMAGE_SIZE)] | None = None
    """Height and width in pixels; images of other sizes are scaled, and those that are not square
    made square as `fit` of their source says. If it is absent, it is the preset's. `train` and
    `inspect` need it; models bring their own size."""
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
    def side(self) -> int:
        """The image_size, of which the command has made sure that it is set."""
        assert self.image_size is not None
        return self.image_size
