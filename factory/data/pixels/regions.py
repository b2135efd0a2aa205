"""Connected regions of a mask: pixels of one class that touch, by their corners too.

Rows are cut into runs of one id; runs that touch are joined. Shapes: H height, W width, N runs, R
regions.
"""

import numpy as np
import numpy.typing as npt

from factory.images import UInt8

Ints = npt.NDArray[np.int64]


def connected_regions(ids: UInt8) -> tuple[npt.NDArray[np.intp], UInt8]:
    """(H, W) the region of each pixel, 0..R-1, and (R,) the id of each region.

    Regions are in the order of their first pixels, row by row.
    """
    begins = np.ones(ids.shape, bool)
    np.not_equal(ids[:, 1:], ids[:, :-1], out=begins[:, 1:])
    starts = np.flatnonzero(begins)
    run_ids = ids.ravel()[starts]
    root = _joined(len(starts), *_touching(starts, run_ids, ids.shape))
    is_first = root == np.arange(len(root))
    number = np.cumsum(is_first) - 1
    lengths = np.append(starts[1:], ids.size) - starts
    return np.repeat(number[root], lengths).reshape(ids.shape), run_ids[is_first]


def _touching(starts: Ints, run_ids: UInt8, shape: tuple[int, int]) -> tuple[Ints, Ints]:
    """Pairs of runs of one id, one in the row above the other, that touch.

    starts: (N,) the positions of their first pixels, counted row by row.
    """
    height, width = shape
    num = int(np.searchsorted(starts, (height - 1) * width))  # the last row has none below
    below = starts[:num] // width * width + width
    left = np.maximum(starts[:num] + width - 1, below)
    right = np.minimum(starts[1 : num + 1] + width, below + width - 1)
    first = np.searchsorted(starts, left, side="right") - 1
    counts = np.searchsorted(starts, right, side="right") - first
    upper = np.repeat(np.arange(num), counts)
    lower = np.arange(len(upper)) + np.repeat(first - np.cumsum(counts) + counts, counts)
    alike = run_ids[upper] == run_ids[lower]
    return upper[alike], lower[alike]


def _joined(num: int, above: Ints, below: Ints) -> Ints:
    """(num,) for each run the smallest run that it is joined with, over any number of others."""
    root = np.arange(num)
    while True:
        a, b = root[above], root[below]
        apart = a != b
        if not apart.any():
            return root
        above, below, a, b = above[apart], below[apart], a[apart], b[apart]
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        while (shorter := root[root]).tobytes() != root.tobytes():
            root = shorter
