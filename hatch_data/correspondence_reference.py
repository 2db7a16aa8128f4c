"""Correspondence in plain NumPy, float64, one array operation after the other: what the kernels are tested against.

Says the same as `views.mark_edges` and `correspondence.correspond`, in the order in which one would explain it. The
kernels differ in float32 rounding alone: a sample that lies within some 1e-6 of a border may fall on its other side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hatch_data.correspondence import GOLDEN
from hatch_data.geometry import inverse, transform
from hatch_data.patches import UNDECIDED, Grid, PatchMap, Visibility
from hatch_data.scene import DepthTolerance
from hatch_data.views import EDGE_TOLERANCES, View


def mark_edges(raw: NDArray[np.int16], metres_per_unit: float, tolerance: DepthTolerance) -> NDArray[np.int16]:
    """int16 depth (height, width) -> the same with depth edges negated."""
    z = raw * float(metres_per_unit)
    rows, columns = np.pad(z, ((1, 1), (0, 0))), np.pad(z, ((0, 0), (1, 1)))
    bends = _bends(rows[:-2], z, rows[2:], tolerance) | _bends(columns[:, :-2], z, columns[:, 2:], tolerance)
    return np.where(bends & (raw > 0), -raw, raw)


def _bends(before: NDArray, z: NDArray, after: NDArray, tolerance: DepthTolerance) -> NDArray[np.bool_]:
    """Where the middle one of three depths in a row departs from its neighbours; 0 is no depth.

    A plane has affine inverse depth: 1 / z = (1 / before + 1 / after) / 2. Where one neighbour has no depth, a step
    to the other one counts.
    """
    limit = EDGE_TOLERANCES * tolerance.at(z)
    with np.errstate(divide="ignore", invalid="ignore"):
        bend = np.abs(z * (z / before + z / after - 2))
    step = np.abs(before + after - z)
    return np.where((before > 0) & (after > 0), bend > limit, (before + after > 0) & (step > limit))


def correspond(source: View, target: View, source_grid: Grid, target_grid: Grid, stride_px: int = 1) -> PatchMap:
    """The patch map from `source` to `target` from every raster pixel, or from the kernel's lattice of `stride_px`."""
    height, width = source.raster.shape
    x, y = _lattice(height, width, stride_px)
    raw = source.raster[y.astype(int), x.astype(int)].astype(np.float64)
    points = source.camera.unproject(np.stack([x, y], axis=-1) - 0.5, raw * source.metres_per_unit)
    target_from_source = inverse(target.world_from_camera) @ source.world_from_camera
    pixel, z = target.camera.project(transform(target_from_source, points))
    position = pixel + 0.5

    outcome = np.where(raw == 0, Visibility.NO_DEPTH, np.where(raw < 0, Visibility.DEPTH_EDGE, Visibility.OUT_OF_VIEW))
    size = np.array([target.camera.width, target.camera.height])
    inside = (raw > 0) & (z > 0) & ((position >= 0) & (position < size)).all(axis=-1)
    outcome[inside] = _compare(z[inside], np.floor(position[inside]).astype(int), target)

    source_patch = _patch(x, y, (height, width), source_grid)
    seen = outcome == Visibility.VISIBLE
    target_patch = _patch(position[seen, 0], position[seen, 1], target.raster.shape, target_grid)
    sources, targets = source_grid[0] * source_grid[1], target_grid[0] * target_grid[1]
    visible = np.bincount(source_patch[seen] * targets + target_patch, minlength=sources * targets)
    outcomes = np.bincount(source_patch * 6 + outcome, minlength=sources * 6).reshape(sources, 6)
    return _patch_map(visible.reshape(sources, targets), outcomes, source_grid, target_grid)


def _lattice(height: int, width: int, stride_px: int) -> tuple[NDArray, NDArray]:
    """Positions x and y of the samples from the image's top-left corner: one in each square of `stride_px` pixels,
    staggered by steps of the golden ratio along and across the lines."""
    line, k = np.mgrid[: -(-height // stride_px), : -(-width // stride_px)]
    x, y = (k + (0.5 + line * GOLDEN) % 1) * stride_px, (line + (0.5 + k * GOLDEN) % 1) * stride_px
    within = (x < width) & (y < height)
    return x[within], y[within]


def _compare(z: NDArray, pixel: NDArray, target: View) -> NDArray:
    """The outcome of points at depth z (n,) over target pixels (n, 2).

    Visible where the pixel's depth agrees. Where another depth is measured its neighbours are asked; where none is,
    nothing is decided.
    """
    here = target.raster[pixel[:, 1], pixel[:, 0]] * target.metres_per_unit
    agrees = (here != 0) & (np.abs(np.abs(here) - z) <= target.tolerance.at(z))
    outcome = np.where(agrees, Visibility.VISIBLE, UNDECIDED)
    unmatched = np.flatnonzero((here != 0) & ~agrees)
    outcome[unmatched] = _compare_around(z[unmatched], pixel[unmatched], target)
    return outcome


def _compare_around(z: NDArray, pixel: NDArray, target: View) -> NDArray:
    """The outcome of points whose pixel has another depth.

    A point that agrees with one of the eight neighbours, or lies between the least and the greatest of them (edges
    left out: a grazing surface), is visible. Else one behind what is measured, at an edge behind both of its sides, is
    occluded; one in front contradicts the measurement and is not decided.
    """
    depth = np.pad(target.raster, 1) * target.metres_per_unit
    rows, columns = pixel[:, 1, None] + np.repeat([0, 1, 2], 3), pixel[:, 0, None] + np.tile([0, 1, 2], 3)
    around = depth[rows, columns]
    here, surface, z = around[:, 4], around > 0, z[:, None]
    least, greatest = np.where(surface, around, np.inf).min(axis=1), np.where(surface, around, 0).max(axis=1)
    agrees = ((around != 0) & (np.abs(np.abs(around) - z) <= target.tolerance.at(z))).any(axis=1)
    between = (here > 0) & (least <= z[:, 0]) & (z[:, 0] <= greatest)
    behind = z[:, 0] > np.where(here > 0, here, np.maximum(-here, greatest))
    return np.where(agrees | between, Visibility.VISIBLE, np.where(behind, Visibility.OCCLUDED, UNDECIDED))


def _patch(x: NDArray, y: NDArray, size: tuple[int, ...], grid: Grid) -> NDArray:
    """Row-major patch number of positions counted from the image's top-left corner; size is (height, width)."""
    return (y * grid[0] / size[0]).astype(int) * grid[1] + (x * grid[1] / size[1]).astype(int)


def _patch_map(visible: NDArray, outcomes: NDArray, source_grid: Grid, target_grid: Grid) -> PatchMap:
    """Shares from counts: visible (source patches, target patches), outcomes (source patches, 6)."""
    total = outcomes.sum(axis=1)
    valid = total - outcomes[:, Visibility.NO_DEPTH] - outcomes[:, Visibility.DEPTH_EDGE]
    outcomes[:, Visibility.NO_DEPTH] += outcomes[:, UNDECIDED]
    outcomes[total == 0, Visibility.NO_DEPTH] = 1
    sources, targets = np.nonzero(visible)
    weight = (visible[sources, targets] / valid[sources]).astype(np.float32)
    share = (valid / np.maximum(total, 1)).astype(np.float32)
    code = outcomes[:, :UNDECIDED].argmax(axis=1).astype(np.uint8)
    return PatchMap(source_grid, target_grid, sources.astype(np.int32), targets.astype(np.int32), weight, share, code)
