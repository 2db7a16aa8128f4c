"""Correspondence in plain NumPy, float64, one array operation after the other: what the kernels are tested against.

Says the same as `views.mark_edges`, `correspondence.flow_field` and `patches.rebin`, in the order in which one would
explain it. The kernels differ in float32 rounding alone: a position may be stored one step of 1 / FLOW_STEPS further,
and a sample that lies within some 1e-6 of a border may fall on its other side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hatch_data.correspondence import FLOW_GRID, cells
from hatch_data.geometry import inverse, transform
from hatch_data.patches import (
    FLOW_CODE,
    FLOW_STEPS,
    GOLDEN,
    REACH_CELLS,
    STRIPS,
    UNDECIDED,
    FlowField,
    Grid,
    PatchMap,
    Visibility,
)
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


def correspond(
    source: View, target: View, source_grid: Grid, target_grid: Grid, stride_px: int | None = None
) -> PatchMap:
    """The patch map from `source` to `target`; with `stride_px` 1 from every pixel of the source's raster."""
    size = FLOW_GRID if stride_px is None else cells(source, stride_px)
    return rebin(flow_field(source, target, size), source_grid, target_grid)


def flow_field(source: View, target: View, size: Grid) -> FlowField:
    """Where the centres of rows x columns cells over `source` lie in `target`, or why nowhere."""
    rows, columns = ((np.arange(n) + 0.5) * pixels / n for pixels, n in zip(source.raster.shape, size, strict=True))
    x, y = (position.ravel() for position in np.meshgrid(columns, rows))
    raw = source.raster[y.astype(int), x.astype(int)].astype(np.float64)
    points = source.camera.unproject(np.stack([x, y], axis=-1) - 0.5, raw * source.metres_per_unit)
    target_from_source = inverse(target.world_from_camera) @ source.world_from_camera
    pixel, z = target.camera.project(transform(target_from_source, points))
    position = pixel + 0.5

    outcome = np.where(raw == 0, Visibility.NO_DEPTH, np.where(raw < 0, Visibility.DEPTH_EDGE, Visibility.OUT_OF_VIEW))
    extent = np.array([target.camera.width, target.camera.height])
    inside = (raw > 0) & (z > 0) & ((position >= 0) & (position < extent)).all(axis=-1)
    outcome[inside] = _compare(z[inside], np.floor(position[inside]).astype(int), target)

    seen = outcome == Visibility.VISIBLE
    values = np.stack([FLOW_CODE + outcome, np.zeros_like(outcome)], axis=-1)
    values[seen] = np.floor(position[seen] / extent * FLOW_STEPS + 0.5)
    return FlowField(values.astype(np.uint16).reshape(*size, 2))


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


def rebin(field: FlowField, source_grid: Grid, target_grid: Grid) -> PatchMap:
    """The patch map at any pair of grids, from a flow field: in each strip of each cell one sample, staggered along and
    across by steps of the golden ratio, lands where the field's differences between cells carry it."""
    rows, columns = field.values.shape[:2]
    values, outcome = field.values.astype(np.float64), field.outcome
    across, down = _difference(values, outcome, 1), _difference(values, outcome, 0)

    line, column = np.mgrid[: rows * STRIPS, :columns]
    row, strip = line // STRIPS, line % STRIPS
    dx, height = (0.5 + line * GOLDEN) % 1 - 0.5, (0.5 + column * GOLDEN) % 1
    dy = (strip + height) / STRIPS - 0.5
    landing = values[row, column] + dx[..., None] * across[row, column] + dy[..., None] * down[row, column]

    source_patch = _patch((column + 0.5 + dx) / columns, (line + height) / (rows * STRIPS), source_grid)
    code = outcome[row, column]
    seen = code == Visibility.VISIBLE
    target_patch = _patch(landing[seen, 0] / FLOW_STEPS, landing[seen, 1] / FLOW_STEPS, target_grid)
    sources, targets = source_grid[0] * source_grid[1], target_grid[0] * target_grid[1]
    visible = np.bincount(source_patch[seen] * targets + target_patch, minlength=sources * targets)
    outcomes = np.bincount((source_patch * 6 + code).ravel(), minlength=sources * 6).reshape(sources, 6)
    return _patch_map(visible.reshape(sources, targets), outcomes, source_grid, target_grid)


def _difference(values: NDArray, outcome: NDArray, axis: int) -> NDArray:
    """(rows, columns, 2) change of the target position from cell to cell along an axis: the mean over those of the two
    neighbours that lie on the same surface; with none, that of an image seen from where it was taken."""
    rows, columns = outcome.shape
    alone = [FLOW_STEPS / columns, 0.0] if axis == 1 else [0.0, FLOW_STEPS / rows]
    values, visible = np.moveaxis(values, axis, 0), np.moveaxis(outcome == Visibility.VISIBLE, axis, 0)
    step = np.diff(values, axis=0)
    reach = REACH_CELLS * FLOW_STEPS / min(rows, columns)
    near = visible[:-1] & visible[1:] & (np.abs(step) < reach).all(axis=-1)
    step, near = np.pad(step * near[..., None], ((1, 1), (0, 0), (0, 0))), np.pad(near.astype(int), ((1, 1), (0, 0)))
    sides = (near[:-1] + near[1:])[..., None]
    mean = (step[:-1] + step[1:]) / np.maximum(sides, 1)
    return np.moveaxis(np.where(sides > 0, mean, alone), 0, axis)


def _patch(x: NDArray, y: NDArray, grid: Grid) -> NDArray:
    """Row-major patch number of positions as shares of an image's width and height, the nearest one beyond them."""
    row, column = np.floor(y * grid[0]), np.floor(x * grid[1])
    return (np.clip(row, 0, grid[0] - 1) * grid[1] + np.clip(column, 0, grid[1] - 1)).astype(int)


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
