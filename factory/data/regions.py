"""Connected regions of a mask: pixels of one class that touch, by their corners too.

Shapes: H height, W width, R regions.
"""

import numpy as np
import numpy.typing as npt

from factory.images import UInt8


def connected_regions(ids: UInt8) -> tuple[npt.NDArray[np.intp], UInt8]:
    """(H, W) the region of each pixel, 0..R-1, and (R,) the id of each region.

    Pixels of one id that touch, by their corners too, are of one region. Rows are cut into runs of
    one id; runs that touch are joined.
    """
    starts = np.ones(ids.shape, bool)
    starts[:, 1:] = ids[:, 1:] != ids[:, :-1]
    runs = np.cumsum(starts.ravel()).reshape(ids.shape) - 1
    joined = _joined(int(runs[-1, -1]) + 1, *_touching(ids, starts, runs))
    first, regions = np.unique(joined, return_inverse=True)
    return regions[runs], ids[starts][first]


def _touching(
    ids: UInt8, starts: npt.NDArray[np.bool_], runs: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Pairs of runs of one id, one in the row above the other, each pair at least once."""
    above, below = [], []
    ends = np.roll(starts, -1, axis=1)
    width = ids.shape[1]
    for shift, edges in (
        (0, starts[:-1] | starts[1:]),  # straight below, where one of the two begins
        (1, ends[:-1]),
        (-1, starts[:-1]),
    ):
        upper = slice(max(0, -shift), width - max(0, shift))
        lower = slice(max(0, shift), width - max(0, -shift))
        touch = edges[:, upper] & (ids[:-1, upper] == ids[1:, lower])
        above.append(runs[:-1, upper][touch])
        below.append(runs[1:, lower][touch])
    return np.concatenate(above), np.concatenate(below)


def _joined(
    num: int, above: npt.NDArray[np.intp], below: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
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
