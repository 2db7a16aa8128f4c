"""Points on the surface that views show, marked where depth can be trusted, and what becomes of them in other views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import hypot, log

import numpy as np

from hatch_data.geometry import Array
from hatch_data.group import ViewGroup
from hatch_data.markers import Marker, at_point
from hatch_data.patches import Visibility
from hatch_data.questions import LETTERS
from hatch_data.views import View

Place = tuple[float, float]

#: The one thing asked about is red; candidates have these colours.
SOURCE_COLOR = "#e6194b"
CANDIDATE_COLORS = ("#f58231", "#3cb44b", "#4363d8", "#911eb4")
#: Points keep this far from the border, in shares of width and height.
BORDER = 0.06
#: Depth is trusted where all of it within this share of the width is measured and no edge,
WINDOW = 0.012
#: varies by no more than this factor (no grazing surface),
GREATEST_SPREAD = 1.15
#: and is that of a plane: its mean inverse departs from the middle's by no more than this.
PLANE_ERROR = 0.01
LEAST_DEPTH_M = 0.25
#: What hides a point is nearer by this much, and by this share of its depth.
OCCLUDER_GAP_M, OCCLUDER_GAP = 0.2, 0.1
#: A point outside of the image lies beyond its border by this share of the size.
CLEARLY_OUTSIDE = 0.08
#: Marked points keep this far from each other, in shares of the image.
LEAST_APART = 0.15
#: Lengths of which one is longer than the other by less than this factor are not clearly different.
CLEAR_RATIO = 1.2
#: Lengths among which is chosen differ by at least this factor: it takes a better eye to tell 0.6 m from 0.7 m.
OPTION_RATIO = 1.35
COORDINATES_EXPLAINED = "Coordinates (x, y) run from (0, 0) at the top left to (1000, 1000) at the bottom right."
#: Places looked at for one that can be asked about, and cells of the flow field.
TRIES, CELLS = 40, 200


class Fate(Enum):
    """What becomes in one view of a point marked in another."""

    VISIBLE = "visible"
    HIDDEN = "hidden"
    OUTSIDE = "outside"


#: Where the flow field says this, a point of that fate is looked for.
_OUTCOMES = {
    Fate.VISIBLE: Visibility.VISIBLE,
    Fate.HIDDEN: Visibility.OCCLUDED,
    Fate.OUTSIDE: Visibility.OUT_OF_VIEW,
}


@dataclass(frozen=True)
class Point:
    """A point of the surface: its place (x, y) in a view, in shares, its planar depth there, and (3,) in the world."""

    view: int
    x: float
    y: float
    depth_m: float
    world: Array

    def marker(self, label: str = "", color: str = SOURCE_COLOR) -> Marker:
        """A mark on it."""
        return at_point(self.x, self.y, label, color)

    def distance_m(self, other: Array) -> float:
        """To a point (3,) of the world."""
        return float(np.linalg.norm(self.world - other))


def draw_points(group: ViewGroup, k: int, rng: np.random.Generator, tries: int = TRIES) -> list[Point]:
    """Points of view k, off its border, whose depth can be trusted: what is left of `tries` places."""
    return trusted_points(group, k, BORDER + (1 - 2 * BORDER) * rng.random((tries, 2)))


def trusted_points(group: ViewGroup, k: int, places: Array) -> list[Point]:
    """Those of `places` (n, 2) in view k at which depth can be trusted."""
    view = group.view(k)
    height, width = view.raster.shape
    found = []
    for x, y in places.tolist():
        row, column = int(y * height), int(x * width)
        depth = trusted_depth(view, row, column)
        if depth is not None and depth >= LEAST_DEPTH_M:
            at = (column + 0.5, row + 0.5)
            world = view.world_from_position @ np.array([at[0] * depth, at[1] * depth, depth, 1.0])
            found.append(Point(k, at[0] / width, at[1] / height, depth, world))
    return found


def trusted_depth(view: View, row: int, column: int) -> float | None:
    """Planar depth in metres of a pixel of the raster, the mean of the plane around it; None where there is none.

    The inverse depth of a plane is affine in the image: its mean over a window is that of the middle.
    """
    window = _window(view, row, column)
    if window is None or window.min() <= 0 or window.max() > GREATEST_SPREAD * window.min():
        return None
    units = 1.0 / np.mean(1.0 / window)
    if abs(units / view.raster[row, column] - 1) > PLANE_ERROR:
        return None
    return float(units) * view.metres_per_unit


def _window(view: View, row: int, column: int) -> np.ndarray | None:
    reach = max(2, round(WINDOW * view.raster.shape[1]))
    if row < reach or column < reach:
        return None
    window = view.raster[row - reach : row + reach + 1, column - reach : column + reach + 1]
    return window if window.shape == (2 * reach + 1, 2 * reach + 1) else None


def fate(group: ViewGroup, point: Point, k: int) -> tuple[Fate | None, Place]:
    """What becomes of a point in view k, None near borders and edges and where depths differ by little; and its place
    there, seen or not."""
    x, y, z = group.place_of(k, point.world)
    if z <= 0 or not (-CLEARLY_OUTSIDE <= x <= 1 + CLEARLY_OUTSIDE and -CLEARLY_OUTSIDE <= y <= 1 + CLEARLY_OUTSIDE):
        return Fate.OUTSIDE, (x, y)
    if not (BORDER <= x <= 1 - BORDER and BORDER <= y <= 1 - BORDER):
        return None, (x, y)
    view = group.view(k)
    height, width = view.raster.shape
    row, column = int(y * height), int(x * width)
    window = _window(view, row, column)
    if window is None or window.min() <= 0:
        return None, (x, y)
    if window.max() * view.metres_per_unit < z - max(OCCLUDER_GAP_M, OCCLUDER_GAP * z):
        return Fate.HIDDEN, (x, y)
    depth = trusted_depth(view, row, column)
    if depth is not None and abs(depth - z) <= float(view.tolerance.at(np.array(z))):
        return Fate.VISIBLE, (x, y)
    return None, (x, y)


def with_fate(
    group: ViewGroup, i: int, k: int, wanted: Fate, rng: np.random.Generator, most: int = 1
) -> list[tuple[Point, Place]]:
    """Up to `most` points of view i, off its border, of which this becomes in view k, and where they lie there."""
    outcome = group.correspondence(i, k).flow.outcome
    cells = np.argwhere(outcome == _OUTCOMES[wanted])
    cells = cells[rng.permutation(len(cells))[:CELLS]]
    places = ((cells + rng.random(cells.shape)) / outcome.shape)[:, ::-1]
    places = places[(np.abs(places - 0.5) <= 0.5 - BORDER).all(axis=1)]
    found: list[tuple[Point, Place]] = []
    for at in places:
        for point in trusted_points(group, i, at[None]):
            becomes, place = fate(group, point, k)
            if becomes is wanted:
                found.append((point, place))
        if len(found) == most:
            break
    return found


def spread_out(places: Sequence[Place], most: int, least_apart: float = LEAST_APART) -> list[int]:
    """Indices of up to `most` places, the first ones that keep apart from each other."""
    chosen: list[int] = []
    for index, (x, y) in enumerate(places):
        if all(hypot(x - places[k][0], y - places[k][1]) >= least_apart for k in chosen):
            chosen.append(index)
            if len(chosen) == most:
                break
    return chosen


def candidate_markers(places: Sequence[Place]) -> list[Marker]:
    """Points A, B, ... in their colours."""
    return [at_point(x, y, LETTERS[k], CANDIDATE_COLORS[k]) for k, (x, y) in enumerate(places)]


def two_views(group: ViewGroup, rng: np.random.Generator) -> tuple[int, int]:
    """Two different views of a group."""
    i, j = rng.permutation(len(group))[:2].tolist()
    return i, j


def length_place(metres: float) -> tuple[float]:
    """Where a length lies: one unit is a factor of `OPTION_RATIO`."""
    return (log(metres) / log(OPTION_RATIO),)
