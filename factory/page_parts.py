"""Parts of the page of a dataset that several of its sections have."""

import base64
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from factory import storage
from factory.errors import UserError
from factory.images import UInt8
from factory.png import encode_png
from factory.shards.mask_files import FileRow
from factory.shards.plan import StoredRow
from factory.shards.schema import Sample

PANE_PIXELS = 128
"""The longer side of a picture on the page."""
MAX_STORED_PIXELS = 512
"""Wider or higher pictures are stored with every second pixel, every third, and so on."""


def picture(panes: Sequence[UInt8]) -> tuple[str, int, int]:
    """Pictures of one size side by side: a PNG in base64, its width and height on the page."""
    height, width, _ = panes[0].shape
    strip = np.concatenate(panes, axis=1)
    if (step := max(height, width) // MAX_STORED_PIXELS) > 1:
        strip = np.ascontiguousarray(strip[::step, ::step])
    picture = base64.b64encode(encode_png(strip)).decode()
    scale = PANE_PIXELS // max(height, width) or PANE_PIXELS / max(height, width)
    return picture, round(len(panes) * width * scale), round(height * scale)


def decoded(row: StoredRow, lacking: dict[str, str]) -> Sample:
    """The sample of a row. Where its image lies elsewhere and cannot be read, it is black, and the
    reason is added to lacking under its key. Raises DamagedShard."""
    if not isinstance(row, FileRow):
        return row.decoded()
    sample = replace(row, images=None).decoded()
    try:
        return row.decoded()
    except (UserError, OSError) as error:
        lacking[sample.key] = storage.describe(error) if isinstance(error, OSError) else str(error)
    return sample


def percentages(counts: Sequence[int]) -> list[float]:
    """Shares in percent with two decimals that sum to 100, or are all 0 if the counts are."""
    total = sum(counts)
    if not total:
        return [0.0] * len(counts)
    parts = [10_000 * count // total for count in counts]
    # Rounding down leaves a rest, which goes to the shares that lost most by it.
    by_loss = sorted(range(len(counts)), key=lambda i: -(10_000 * counts[i] % total))
    for i in by_loss[: 10_000 - sum(parts)]:
        parts[i] += 1
    return [part / 100 for part in parts]
