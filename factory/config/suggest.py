"""The sections `suggest` and `adopt`: which images to label next, and the masks that come back."""

from typing import Annotated

from pydantic import Field

from factory.data.kinds.known import SourceConfig
from factory.values import Count, Number, Section, Url


class SuggestConfig(Section):
    """The images whose masks would teach the ensemble most, packed for CVAT and Label Studio with
    the masks that it gives them."""

    url: Url = "out/run/suggestions"
    """The folder of images, masks and packages; absent: the folder `suggestions` of train.url."""
    num: Count = 20
    """The number of images that are suggested."""
    source: SourceConfig | None = None
    """The images to choose from; absent: those of data.unlabelled. A finished dataset of this
    factory is named as the url of a source of kind folder. Images of data.labelled and data.test
    are left out."""
    max_candidates: Count = 2000
    """At most so many of them are looked at, evenly over the source: each costs what a label
    costs."""
    uncertainty_weight: Annotated[Number, Field(ge=0, le=1)] = 0.5
    """What counts when an image is chosen. 1: how far the ensemble's members disagree on it, alone;
    0: how far it is, in the network's features, from all images that are labelled or chosen; 0.5:
    both alike."""


class AdoptConfig(Section):
    """Takes corrected masks of suggested images as labels, and measures what they teach."""

    masks: Url | None = None
    """What the tool exported: CVAT's .zip or .xml (CVAT for images 1.1), Label Studio's .json, or a
    folder or a .zip of PNG files, value = class id, under the names of the suggested images."""
    url: Url = "out/run/adopted"
    """The folder of all labelled images, the new ones among them, and of the new ensemble; absent:
    the folder `adopted` of train.url."""
    num_folds: Annotated[Count, Field(ge=2)] = 3
    """Without data.test: the parts of the labelled images of which each is labelled by ensembles
    that were fitted on the others, without and with the new images."""
