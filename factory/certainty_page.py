"""The parts of a dataset's page that tell how right its masks are expected to be, and are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factory.certainty import certainty_of
from factory.certainty_picture import picture
from factory.errors import counted
from factory.scores import Score
from factory.shards.columns import SCORE_COLUMNS
from factory.shards.plan import Plan, StoredRow

_EXPECTED_IOUS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""The page tells how many pairs have so much to expect."""


@dataclass(frozen=True)
class CertaintySection:
    """Whether the certainty of masks tells how right they are."""

    summary: str
    picture: str
    """An SVG of numbers and words of our own."""


def iou_of(row: StoredRow) -> float:
    """The mean IoU of the mask of a row with that of the source; nan where nothing is compared."""
    return Score(*(np.array(row.fields[name]) for name in SCORE_COLUMNS)).mean_iou


def certainty_section(
    plan: Plan, uncertainties: Sequence[float], ious: Sequence[float]
) -> CertaintySection | None:
    """None where masks are not compared, and there are no ious."""
    if not ious or (found := certainty_of(uncertainties, ious, plan.calibration)) is None:
        return None
    return CertaintySection("; ".join(found.lines()), picture(found, in_page=True))


def expected_note(plan: Plan, uncertainties: Sequence[float]) -> str:
    """The IoU that is expected of masks, in words; empty where nothing tells it."""
    if (calibration := plan.calibration) is None:
        return ""
    ious = sorted(calibration.expected_iou(each) for each in uncertainties)
    shares = (
        f"{sum(iou >= least for iou in ious) / len(ious):.0%} have {least:.1f} or more"
        for least in _EXPECTED_IOUS
    )
    return (
        f" By {counted(calibration.num_images, 'labelled image')} an IoU of {ious[0]:.2f} to "
        f"{ious[-1]:.2f} is expected of them: {', '.join(shares)}."
    )
