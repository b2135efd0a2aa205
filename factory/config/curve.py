"""The section `curve`: how the labels get better with more labelled images."""

from typing import Annotated

from pydantic import AfterValidator, Field

from factory.values import Count, Positive, Section, Seed, Url, some


def _ascending(values: tuple[int, ...]) -> tuple[int, ...]:
    if list(values) != sorted(set(values)):
        raise ValueError("must be ascending, each number once")
    return some(values)


class CurveConfig(Section):
    """Measures the labels of ensembles that are fitted on parts of `data.labelled`, and tells from
    that what ten more labelled images are worth."""

    url: Url = "out/run/curve"
    """The folder of scores and the picture; absent: the folder `curve` of train.url."""
    nums: Annotated[tuple[Count, ...], AfterValidator(_ascending)] = (5, 10, 20, 50, 100)
    """Numbers of labelled images to fit on, as far as there are so many; with data.test all of them
    come last."""
    num_seeds: Annotated[Count, Field(ge=2, le=100)] = 3
    """Times that each number is drawn and fitted; from their differences follows what chance
    makes."""
    features_gib: Positive = 2.0
    """Memory for the features of labelled and test images, which are read from the DDPM once; where
    they do not fit, they are read anew for each fit."""
    seed: Seed = 0
    """The seed decides which images are drawn. The fits themselves begin at fit.seed."""
