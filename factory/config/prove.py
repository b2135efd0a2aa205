"""The section `prove`: whether pairs of a dataset are worth training on."""

from typing import Annotated, Literal

from pydantic import Field

from factory.values import Count, Section, Url


class ProveConfig(Section):
    """Trains the network of section `segment` on real pairs, on synthetic ones, on both, and on
    unlabelled images with masks of the ensemble, and measures each on `data.test`."""

    url: Url = "out/run/proof"
    """The folder of the scores; absent: the folder `proof` of train.url. What is finished there is
    not trained again."""
    dataset_url: Url = "out/run/dataset"
    """The finished dataset; absent: generate.url."""
    num_seeds: Annotated[Count, Field(ge=2, le=10)] = 3
    """Trainings of each kind, which differ in their seed."""
    num_steps: Count = 1000
    """Optimiser steps of each training, in place of segment.num_steps."""
    workers: Literal["ray", "here"] = "ray"
    """ray: trainings run side by side, a core or a GPU each; here: in the command's own process,
    one after the other and without Ray."""
