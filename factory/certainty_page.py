"""The parts of a dataset's page that tell how right its masks are expected to be, and are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factory.certainty import Known, certainty_of
from factory.certainty_picture import picture
from factory.errors import counted
from factory.scores import Score
from factory.shards.columns import EXPECTED_CLASS_IOU, EXPECTED_IOU, SCORE_COLUMNS
from factory.shards.plan import Plan, StoredRow

_EXPECTED_IOUS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""The page tells how many pairs have so much to expect."""


@dataclass(frozen=True)
class CertaintySection:
    """Whether the certainty of masks tells how right they are."""

    summary: str
    picture: str
    """An SVG of numbers and words of our own, and of names of classes, which are escaped."""


def known_of(row: StoredRow, is_scored: bool) -> Known:
    """What is known of the mask of a row; is_scored: True if it is compared with the source's."""
    iou, class_ious = float("nan"), list[float]()
    if is_scored:
        score = Score(*(np.array(row.fields[name]) for name in SCORE_COLUMNS))
        iou, class_ious = score.mean_iou, score.iou.tolist()
    return Known(
        row.uncertainty,
        iou,
        row.fields.get(EXPECTED_IOU),
        class_ious,
        row.fields.get(EXPECTED_CLASS_IOU, ()),
    )


def certainty_section(plan: Plan, pairs: Sequence[Known]) -> CertaintySection | None:
    """None where masks are not compared."""
    if (found := certainty_of(pairs)) is None:
        return None
    return CertaintySection("; ".join(found.lines()), picture(found, plan.classes, in_page=True))


def expected_note(plan: Plan, pairs: Sequence[Known]) -> str:
    """The IoU that is expected of masks, in words; empty where nothing tells it."""
    if (calibration := plan.calibration) is None:
        return ""
    ious = sorted(pair.expected for pair in pairs if pair.expected is not None)
    shares = (
        f"{sum(iou >= least for iou in ious) / len(ious):.0%} have {least:.1f} or more"
        for least in _EXPECTED_IOUS
    )
    return (
        f" By {counted(calibration.num_images, 'labelled image')} an IoU of {ious[0]:.2f} to "
        f"{ious[-1]:.2f} is expected of them: {', '.join(shares)}."
    )
