"""The section `probe`: which timesteps are tried for the labels, at all blocks."""

from typing import Annotated

from pydantic import AfterValidator, Field

from factory import storage
from factory.values import Count, Ordinal, Section, Seed, Url, some


class ProbeConfig(Section):
    """Measures on `data.labelled` which features of the network carry the labels, the middle block
    and all decoder blocks at each of some timesteps, and chooses `fit.timesteps` and
    `fit.blocks`."""

    url: Url = "out/run/probe"
    """The folder of scores, heat map and config; absent: the folder `probe` of train.url."""
    timesteps: Annotated[tuple[Ordinal, ...], AfterValidator(some)] = (
        5,
        25,
        50,
        100,
        150,
        250,
        350,
    )
    """Timesteps to choose from, beside those of fit.timesteps; each costs one pass of the network
    over the labelled images."""
    num_passes: Count = 3
    """Timesteps that are chosen at most: passes of the network over an image that gets labels."""
    pixels_per_image: Count = 512
    """Labelled pixels to measure on, as a mean over the images; rare classes are kept likelier."""
    num_folds: Annotated[Count, Field(ge=2)] = 5
    """Parts of the labelled images; each part is labelled by what the others taught."""
    seed: Seed = 0
    """The seed decides the pixels and the parts; the noise on the images is that of fit.seed."""

    @property
    def config_url(self) -> str:
        """The config that is written, with the chosen features for `factory fit`."""
        return storage.join(self.url, "probe.yaml")
