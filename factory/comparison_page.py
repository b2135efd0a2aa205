"""What the page of a dataset shows of its comparison with the images that it learned from."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from factory import storage
from factory.classes import Classes, css_color
from factory.comparison import Closest, Comparison, Likeness, closest_rows
from factory.config import Config
from factory.data.loading import read_labelled
from factory.errors import counted
from factory.labeling import curve_picture
from factory.labeling.curve_outcome import read_curve
from factory.labeling.evaluation import ENSEMBLE, METRICS, MISTAKES
from factory.labeling.probe_outcome import DDPM, FOUND, HEAT_MAP
from factory.likeness.nearest import NEARLY_SAME
from factory.page_parts import percentages, picture
from factory.shards.manifest import Manifest
from factory.shards.plan import Plan
from factory.shards.schema import Sample

DDPM_OF_PLAN = "ddpm_sha256"
"""The key of a plan's recipe that tells which DDPM its pairs were made with."""


@dataclass(frozen=True)
class SharesOfClass:
    """The share of the pixels that a class has in the dataset, and in the labelled images."""

    id: int
    name: str
    color: str
    share: float
    """In percent of the dataset's pixels."""
    labelled: float
    """In percent of the pixels of the labelled images."""


def shares_of_classes(
    classes: Classes, counts: Sequence[int], comparison: Comparison
) -> list[SharesOfClass] | None:
    """None where no labelled images are compared."""
    if comparison.labelled is None:
        return None
    both = zip(percentages(counts), percentages(comparison.labelled.pixels), strict=True)
    colors = [css_color(color) for color in classes.palette]
    return [
        SharesOfClass(i, classes.names[i], colors[i], share, labelled)
        for i, (share, labelled) in enumerate(both)
    ]


def likeness_rows(found: Likeness) -> dict[str, str]:
    """How the images compare to those that the DDPM learned from, by what is compared."""
    times = found.distance / max(found.usual_distance, 1e-9)
    return {
        "Images compared": f"{found.num_compared:,} of the dataset with {found.num_training:,} "
        "training images",
        "Frechet distance": f"{found.distance:.4f} per feature; {found.usual_distance:.4f} between "
        f"two parts of the training images, each of as many: {times:.1f} times that",
        "Red, green and blue less grey, of 255": f"{found.colours}; training images "
        f"{found.training_colours}",
        "Nearly a training image": f"{found.num_nearly_same:,} of {found.num_compared:,}: closer "
        f"to one, or its mirror image, than {NEARLY_SAME:g} of what is usual between two of these",
    }


def picture_of_mistakes(config: Config, plan: Plan) -> str | None:
    """What the ensemble has wrong in test images, a PNG in base64; None unless `factory evaluate`
    wrote it of this ensemble to evaluate.url. Raises OSError."""
    url = config.evaluate.url
    try:
        metrics = json.loads(storage.read_bytes(storage.join(url, METRICS)))
        if metrics[ENSEMBLE] != plan.recipe[ENSEMBLE]:
            return None
        return base64.b64encode(storage.read_bytes(storage.join(url, MISTAKES))).decode()
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class ProbeSection:
    """What a probe found of the features that carry the labels."""

    note: str
    picture: str | None
    """Its heat map, a PNG in base64; None if it is of another DDPM."""


def probe_section(config: Config, plan: Plan) -> ProbeSection | None:
    """What `factory probe` wrote to probe.url; None where it has not finished one there. Raises
    OSError."""
    url = config.probe.url
    try:
        # The config is written last.
        storage.read_bytes(config.probe.config_url)
        found = json.loads(storage.read_bytes(storage.join(url, FOUND)))
        picture = base64.b64encode(storage.read_bytes(storage.join(url, HEAT_MAP))).decode()
        theirs, ours = str(found[DDPM]), str(plan.recipe[DDPM_OF_PLAN])
        words = _words_of_probe(found)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    if theirs != ours:
        note = (
            f"The probe in {url} is of another DDPM ({theirs[:12]}) than this dataset "
            f"({ours[:12]}), and is not shown."
        )
        return ProbeSection(note, None)
    return ProbeSection(words, picture)


@dataclass(frozen=True)
class CurveSection:
    """What more labelled images are worth."""

    note: str
    picture: str
    """The curve, as an SVG element."""


def curve_section(config: Config, plan: Plan) -> CurveSection | None:
    """The curve that `factory curve` wrote to curve.url; None unless it is there, of this dataset's
    DDPM and of the labelled images of the config. Raises OSError, and UserError where these cannot
    be read."""
    curve, labelled = read_curve(config.curve.url), config.data.labelled
    if curve is None or labelled is None or curve.ddpm_hash != plan.recipe.get(DDPM_OF_PLAN):
        return None
    read = read_labelled(labelled, curve.image_size, plan.channels)
    if read.digest() != curve.labelled_hash:
        return None
    note = (
        f"The mean IoU, with its deviation over {curve.num_seeds} draws of the labelled images, on "
        f"{counted(curve.num_test, 'image')} of {curve.test_key}. {' '.join(curve.sentences())}"
    )
    return CurveSection(note, curve_picture.picture(curve, read.classes, in_page=True))


def _words_of_probe(found: Any) -> str:
    """What a probe measured, and what it chose. Raises KeyError, TypeError and ValueError where
    that is not told."""
    chosen, present = (
        f"timesteps {', '.join(map(str, choice['timesteps']))} and blocks "
        f"{', '.join(map(str, choice['blocks']))} (mean IoU {choice['mean_iou']:.3f})"
        for choice in (found["chosen"], found["present"])
    )
    return (
        "The mean IoU of each block at each timestep alone, by a linear classifier on "
        f"{found['num_pixels']:,} pixels of {counted(found['num_images'], 'labelled image')}: "
        "white is the best, and what is chosen has a frame. "
        f"Chosen are {chosen}. The config then had {present}."
    )


@dataclass(frozen=True)
class ClosestFigure:
    """An image of the dataset beside the training image that is nearest to it."""

    picture: str
    """A PNG in base64."""
    width: int
    height: int
    key: str
    name: str
    distance: float


def closest_figures(
    url: str, manifest: Manifest, comparison: Comparison | None
) -> list[ClosestFigure]:
    """Of drawn images alone: those of a source may well be the training images themselves. Without
    a comparison those that receipts tell, and not the training images. Raises as `read_rows`."""
    if not manifest.plan.is_drawn:
        return []
    if comparison is not None and comparison.likeness is not None:
        return [_beside(each) for each in comparison.likeness.closest]
    return [_alone(row.decoded()) for row in closest_rows(url, manifest)]


def _beside(closest: Closest) -> ClosestFigure:
    panes = [closest.image, closest.training_image]
    return ClosestFigure(*picture(panes), closest.key, closest.name, closest.distance)


def _alone(sample: Sample) -> ClosestFigure:
    name = f"training image {sample.nearest_training_image}"
    distance = sample.nearest_training_distance
    assert distance is not None, "receipts tell it of samples that do"
    return ClosestFigure(*picture([sample.image]), sample.key, name, distance)


def closest_note(comparison: Comparison | None) -> str:
    """What the figures show."""
    if comparison is not None and comparison.likeness is not None:
        return (
            "Left the dataset's image, right the training image that is nearest to it, or its "
            "mirror image."
        )
    return (
        "The images that are nearest to a training image, or its mirror image. With --config FILE "
        "the page shows these, too."
    )
