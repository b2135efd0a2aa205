"""Polygons around the connected regions of a mask, one for each; a hole is joined by a bridge.

Shapes: H height, W width, R regions, V vertices. Coordinates are pixels: pixel (x, y) covers x..x+1
and y..y+1. An outline follows the sides of pixels, a small step inside the region. So readers that
round or cut its coordinates to whole pixels, and then fill the polygon with its border, find the
very pixels of the region.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from factory.data.drawn.yolo import BRIDGE

Polygon = npt.NDArray[np.float64]
"""(V, 2) x and y of the vertices."""
Indices = npt.NDArray[np.intp]

# The sides of a pixel, walked with the pixel on the right: y grows downwards.
_TOP, _RIGHT, _BOTTOM, _LEFT = range(4)
_ACROSS = np.array([[0, -1], [1, 0], [0, 1], [-1, 0]])
"""(4, 2) the step x, y over each side."""
_AHEAD = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
"""(4, 2) the step x, y along each side."""
_CORNER = np.array([[1, 0], [1, 1], [0, 1], [0, 0]])
"""(4, 2) where each side of pixel 0, 0 ends."""


def outlines(regions: Indices, near: float, far: float) -> list[Polygon]:
    """The polygon around each region, in order.

    regions: (H, W) the region of each pixel, 0..R-1, as `connected_regions` returns it. near, far:
    how far inside the polygon runs at left and upper sides, and at right and lower ones, in pixels.
    Two parts of a region that touch by a corner alone, and a hole and the border around it, are
    joined by a line there and back, which covers nothing.
    """
    sides = _Sides(regions, near, far)
    cycles = sides.cycles()
    return _with_holes(sides, cycles, int(regions.max()) + 1)


@dataclass(frozen=True, eq=False)
class _Sides:
    """The sides of pixels that part two regions, by number: each is seen from both its pixels."""

    regions: Indices
    near: float
    far: float

    @cached_property
    def _padded(self) -> Indices:
        return np.pad(self.regions, 1, constant_values=-1)

    @cached_property
    def _found(self) -> tuple[Indices, Indices, Indices]:
        """(S,) the side, and the row and the column in the padded regions of its pixel."""
        center = self._padded[1:-1, 1:-1]
        height, width = center.shape
        parts = []
        for x, y in _ACROSS:
            parts.append(center != self._padded[1 + y : 1 + y + height, 1 + x : 1 + x + width])
        side, rows, columns = np.nonzero(np.stack(parts))
        return side, rows + 1, columns + 1

    @cached_property
    def _numbers(self) -> Indices:
        """(4, H + 2, W + 2) the number of each side that parts two regions."""
        numbers = np.full((4, *self._padded.shape), -1)
        numbers[self._found] = np.arange(len(self._found[0]))
        return numbers

    @cached_property
    def region(self) -> Indices:
        """(S,) the region that each side belongs to."""
        _, rows, columns = self._found
        return self._padded[rows, columns]

    @cached_property
    def _turns(self) -> tuple[Indices, Indices]:
        """(S,) the side that follows each one, and how: 0 straight, 1 to the right, 2 to the left
        around a corner of the region, 3 to the left through a corner by which its parts touch."""
        side, rows, columns = self._found
        ahead_x, ahead_y = columns + _AHEAD[side, 0], rows + _AHEAD[side, 1]
        left_x, left_y = ahead_x + _ACROSS[side, 0], ahead_y + _ACROSS[side, 1]
        is_ahead = self._padded[ahead_y, ahead_x] == self.region
        is_left = self._padded[left_y, left_x] == self.region
        following = np.where(
            is_left,
            self._numbers[(side - 1) % 4, left_y, left_x],
            np.where(
                is_ahead,
                self._numbers[side, ahead_y, ahead_x],
                self._numbers[(side + 1) % 4, rows, columns],
            ),
        )
        turn = np.where(is_left, np.where(is_ahead, 2, 3), np.where(is_ahead, 0, 1))
        return following, turn

    def cycles(self) -> list[Indices]:
        """The sides in the order in which they are walked, one closed walk after another."""
        following = self._turns[0].tolist()
        seen = bytearray(len(following))
        found = []
        for first in range(len(following)):
            if seen[first]:
                continue
            cycle = []
            each = first
            while not seen[each]:
                seen[each] = 1
                cycle.append(each)
                each = following[each]
            found.append(np.array(cycle))
        return found

    def hole_of(self, cycle: Indices) -> tuple[int, int, int] | None:
        """Of a walk around a hole: its leftmost column, the side there that the hole lies right of,
        and the side where the row of that side's pixel begins; None for a walk around a region."""
        side, rows, columns = (part[cycle] for part in self._found)
        right, left = side == _RIGHT, side == _LEFT
        if (columns[right] + 1).sum() > columns[left].sum():
            return None
        nearest = cycle[right][np.lexsort((rows[right], columns[right]))[0]]
        row, column = self._found[1][nearest], self._found[2][nearest]
        other = np.flatnonzero(self._padded[row, :column] != self._padded[row, column])
        host = self._numbers[_LEFT, row, other[-1] + 1]
        return int(column), int(nearest), int(host)

    @cached_property
    def vertices(self) -> tuple[Polygon, Indices]:
        """(V, 2) the vertices at the ends of all sides, and (S + 1,) where those of each begin."""
        following, turn = self._turns
        side, rows, columns = self._found
        inside = np.array([[0, self.near], [-self.far, 0], [0, -self.far], [self.near, 0]])
        corner = np.stack([columns - 1, rows - 1], axis=1) + _CORNER[side]
        after = side[following]
        first = (
            corner
            + inside[side]
            + np.where((turn == 3)[:, None], inside[(side + 1) % 4], inside[after])
        )
        second = corner + inside[after] + inside[(after - 1) % 4]
        num = np.array([0, 1, 1, 2])[turn]
        starts = np.concatenate([[0], np.cumsum(num)])
        points = np.empty((starts[-1], 2))
        points[starts[:-1][num > 0]] = first[num > 0]
        points[starts[1:][turn == 3] - 1] = second[turn == 3]
        return points, starts

    def points(self, cycle: Indices) -> Polygon:
        """(V, 2) the vertices at the ends of some sides, in order."""
        points, starts = self.vertices
        num = starts[cycle + 1] - starts[cycle]
        first = np.repeat(starts[cycle] - (np.cumsum(num) - num), num)
        return points[first + np.arange(len(first))]

    def middle(self, number: int) -> Polygon:
        """(1, 2) the point of a left or a right side at which a bridge begins."""
        side, row, column = (part[number] for part in self._found)
        x = column - 1 + (self.near if side == _LEFT else 1 - self.far)
        return np.array([[x, row - 1 + BRIDGE]])


def _with_holes(sides: _Sides, cycles: list[Indices], num_regions: int) -> list[Polygon]:
    """The polygon of each region: the walk around it, with those around its holes."""
    around, holes = [np.empty(0, np.intp)] * num_regions, []
    for cycle in cycles:
        if hole := sides.hole_of(cycle):
            holes.append((*hole, cycle))
        else:
            around[sides.region[cycle[0]]] = cycle
    bridges: dict[int, Polygon] = {}
    # A bridge leads to the left, to the border or to a hole that begins further left.
    for _, nearest, host, cycle in sorted(holes, key=lambda hole: hole[0], reverse=True):
        start = int(np.flatnonzero(cycle == nearest)[0])
        detour = _polygon(sides, np.roll(cycle, -start), bridges)
        middle = sides.middle(nearest)
        bridges[host] = np.concatenate(
            [sides.middle(host), middle, detour, middle, sides.middle(host)]
        )
    return [_polygon(sides, cycle, bridges) for cycle in around]


def _polygon(sides: _Sides, cycle: Indices, bridges: dict[int, Polygon]) -> Polygon:
    """(V, 2) the vertices of a walk, with the detours at those of its sides that have one."""
    if not bridges:
        return sides.points(cycle)
    places = [i for i, number in enumerate(cycle.tolist()) if number in bridges]
    parts, done = [], 0
    for place in places:
        parts += [sides.points(cycle[done:place]), bridges.pop(int(cycle[place]))]
        done = place
    return np.concatenate([*parts, sides.points(cycle[done:])])
