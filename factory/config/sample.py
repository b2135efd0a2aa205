"""The section `sample`: images of a DDPM without an ensemble."""

from factory.values import Count, Section, Url


class SampleConfig(Section):
    """Images of the DDPM alone, to look at or to label; drawn as the section generate says."""

    url: Url = "out/run/samples"
    """The folder of the images; absent: the folder `samples` of train.url."""
    num: Count = 16
    """The number of images."""
