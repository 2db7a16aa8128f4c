"""Two posed depth views -> per-patch map, visibility codes and flow field.

Samples of the depth raster of view X are unprojected, carried into view Y and compared with Y's raster:

    p_y = K_y (R_yx K_x^-1 (u, v, 1) z + t_yx)

and counted by the patch they come from and the patch they land in. `correspondence_reference` computes the same in
plain NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from hatch_data.patches import FLOW_CODE, FLOW_STEPS, UNDECIDED, FlowField, Grid, PatchMap, Visibility, from_samples
from hatch_data.views import View, limits

VISIBLE, OCCLUDED, OUT_OF_VIEW, NO_DEPTH, DEPTH_EDGE = (int(code) for code in Visibility)
#: Cells of the stored flow field: with 96 x 128 a map at another grid stays within 0.02 of one built there.
FLOW_GRID = (96, 128)
#: Raster pixels between samples at the default quality; 1 is the highest.
STRIDE_PX = 3
#: Steps of the golden ratio spread phases evenly, however many are taken.
GOLDEN = (5**0.5 - 1) / 2
#: Keeps a position just short of the far border, scaled in float32, below the number of patches.
_ROUND_DOWN = np.float32(1 - 2**-22)
#: Deeper than any raster says, in its units.
_FAR = np.int32(2**30)


@dataclass(frozen=True)
class Correspondence:
    """What is found from one view to another: the map at the grids asked for, and the flow field for any other."""

    map: PatchMap
    flow: FlowField


def correspond(
    source: View, target: View, source_grid: Grid, target_grid: Grid, stride_px: int = STRIDE_PX
) -> Correspondence:
    """Find the patches of `source` in `target`, from one sample in each square of `stride_px` pixels of the source."""
    ray, shift = _target_from_source(source, target)
    scene = (
        source.raster,
        np.float32(source.metres_per_unit),
        target.raster,
        np.float32(target.metres_per_unit),
        ray,
        shift,
        limits(target.tolerance),
    )
    source_patch, target_patch, count, outcomes = _sample_patches(*scene, stride_px, *source_grid, *target_grid)
    found = from_samples(source_patch, target_patch, count, outcomes, source_grid, target_grid)
    return Correspondence(found, FlowField(_sample_flow(*scene, *FLOW_GRID)))


def _target_from_source(source: View, target: View) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(3, 3) K_y R_yx K_x^-1 and (3,) K_y t_yx: homogeneous target position = ray @ (u, v, 1) * z + shift, positions
    counted in pixels from the top-left corner of the image."""
    position_from_world, world_from_position = target.position_from_world, source.world_from_position
    ray = position_from_world[:, :3] @ world_from_position[:, :3]
    shift = position_from_world[:, :3] @ world_from_position[:, 3] + position_from_world[:, 3]
    return ray.astype(np.float32), shift.astype(np.float32)


@numba.njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _unmatched(z, column, row, raster, unit, bounds):
    """The outcome of a point at depth z over a pixel whose own depth does not agree with it.

    Within one pixel a grazing surface may rise by more than the tolerance: z between the least and the greatest depth
    of the neighbourhood, edges left out, is on that surface. Beside an edge the point may belong to either side.
    A point behind what is measured is occluded; one in front contradicts the measurement. (Inlined: numba counts
    references to arrays at every call.)
    """
    here = raster[row, column]
    if here == 0:
        return UNDECIDED
    tolerance = max(bounds[0], bounds[1] * z, bounds[2] * z * z)
    units = np.float32(1.0) / unit
    at, lowest, highest = z * units, (z - tolerance) * units, (z + tolerance) * units
    bottom, right = raster.shape[0] - 1, raster.shape[1] - 1
    least, greatest = _FAR, np.int32(0)
    agrees = False
    for r in (row - (row > 0), row, row + (row < bottom)):
        for c in (column - (column > 0), column, column + (column < right)):
            there = np.int32(raster[np.uint32(r), np.uint32(c)])
            agrees |= (there != 0) & (lowest <= abs(there)) & (abs(there) <= highest)
            least = min(least, there if there > 0 else _FAR)
            greatest = max(greatest, there)
    if agrees or (here > 0 and least <= at <= greatest):
        return VISIBLE
    return OCCLUDED if at > (here if here > 0 else max(-here, greatest)) else UNDECIDED


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "arcp", "nsz"})
def _project_line(depth, unit, columns, rows, ray, shift, target_size, x, y, z):
    """Project one line of samples: depth (n,) in units at source positions (n,), (n,) -> target positions x, y and z;
    outside the target, x is -1. Kept apart because this loop, unlike the next, runs in SIMD."""
    height, width = target_size
    x_x, x_y, x_1, shift_x = ray[0, 0], ray[0, 1], ray[0, 2], shift[0]
    y_x, y_y, y_1, shift_y = ray[1, 0], ray[1, 1], ray[1, 2], shift[1]
    z_x, z_y, z_1, shift_z = ray[2, 0], ray[2, 1], ray[2, 2], shift[2]
    outside = np.float32(-1.0)
    for k in range(depth.shape[0]):
        metres = np.float32(depth[k]) * unit
        pz = (z_x * columns[k] + (z_y * rows[k] + z_1)) * metres + shift_z
        scale = np.float32(1.0) / pz
        px = ((x_x * columns[k] + (x_y * rows[k] + x_1)) * metres + shift_x) * scale
        py = ((y_x * columns[k] + (y_y * rows[k] + y_1)) * metres + shift_y) * scale
        inside = (pz > 0) & (px >= 0) & (py >= 0) & (px < width) & (py < height)
        x[k] = px if inside else outside
        y[k] = py if inside else outside
        z[k] = pz


@numba.njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _outcome(raw, x, y, z, target, target_unit, bounds):
    """The outcome of one projected sample of raw depth `raw`."""
    if raw <= 0:
        return NO_DEPTH if raw == 0 else DEPTH_EDGE
    if x < 0:
        return OUT_OF_VIEW
    column, row = np.uint32(x), np.uint32(y)
    there = np.float32(abs(np.int32(target[row, column]))) * target_unit
    if abs(there - z) <= max(bounds[0], bounds[1] * z, bounds[2] * z * z) and there > 0:
        return VISIBLE
    return _unmatched(z, np.int64(column), np.int64(row), target, target_unit, bounds)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sample_patches(
    source, source_unit, target, target_unit, ray, shift, bounds, stride, rows, columns, target_rows, target_columns
):
    """Visible samples by (source patch, target patch), sparse, and all samples by (source patch, outcome).

    One row of patches is counted at a time: its counters stay in cache. A line of samples over a border between two
    rows of patches is gone through for each of them.
    """
    height, width = source.shape
    size = (np.float32(target.shape[0]), np.float32(target.shape[1]))
    across, down = _ROUND_DOWN * target_columns / size[1], _ROUND_DOWN * target_rows / size[0]
    goals = target_rows * target_columns
    outcomes = np.zeros((rows * columns, 6), np.int32)
    band = np.zeros((columns, goals), np.int32)
    span = np.empty((columns, 2), np.int64)
    span[:, 0], span[:, 1] = goals, -1
    lines, most = (height + stride - 1) // stride, (width + stride - 1) // stride
    x, y, z = np.empty(most, np.float32), np.empty(most, np.float32), np.empty(most, np.float32)
    depth, at_x, at_y = np.empty(most, np.int16), np.empty(most, np.float32), np.empty(most, np.float32)
    drop = ((0.5 + np.arange(most) * GOLDEN) % 1.0 * stride).astype(np.float32)
    found = np.empty((3, lines * most), np.int32)
    n_found = 0
    for line in range(lines):
        n = _place_line(source, line, stride, drop, depth, at_x, at_y)
        _project_line(depth[:n], source_unit, at_x, at_y, ray, shift, size, x, y, z)
        for patch_row in range(int(line * stride * rows / height), rows):
            top, bottom = np.float32(patch_row * height / rows), np.float32((patch_row + 1) * height / rows)
            if top >= (line + 1) * stride:
                break
            k = 0
            for patch_column in range(columns):
                patch = patch_row * columns + patch_column
                end = (patch_column + 1) * width / columns if patch_column + 1 < columns else np.inf
                least, greatest, visible = span[patch_column, 0], span[patch_column, 1], 0
                while k < n and at_x[k] < end:
                    if top <= at_y[k] < bottom:
                        outcome = _outcome(depth[k], x[k], y[k], z[k], target, target_unit, bounds)
                        if outcome == VISIBLE:
                            goal = int(y[k] * down) * target_columns + int(x[k] * across)
                            band[patch_column, goal] += 1
                            least, greatest = min(least, goal), max(greatest, goal)
                            visible += 1
                        else:
                            outcomes[patch, outcome] += 1
                    k += 1
                span[patch_column, 0], span[patch_column, 1] = least, greatest
                outcomes[patch, VISIBLE] += visible
            if bottom <= (line + 1) * stride or line + 1 == lines:
                n_found = _collect_band(band, span, patch_row * columns, found, n_found)
    return found[0, :n_found].copy(), found[1, :n_found].copy(), found[2, :n_found].copy(), outcomes


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _place_line(source, line, stride, drop, depth, at_x, at_y):
    """Positions of one line of samples and the depth of the pixels they fall into; returns how many there are.

    Each line starts at another phase, and sample k lies `drop[k]` below the top of its line: patch borders run along
    pixel rows and columns, and against a square lattice a whole border would fall to one side.
    """
    height, width = source.shape
    start = (0.5 + line * GOLDEN) % 1.0 * stride
    n = (width - 1 - int(start)) // stride + 1
    for k in range(n):
        at_x[k], at_y[k] = k * stride + start, line * stride + drop[k]
        depth[k] = source[min(np.uint32(line * stride + int(drop[k])), height - 1), np.uint32(k * stride + int(start))]
    return n


@numba.njit(cache=True, nogil=True)
def _collect_band(band, span, first_patch, found, n_found):
    """Append the counters of one row of patches to `found` as (source, target, count) and clear them."""
    for patch_column in range(band.shape[0]):
        for goal in range(span[patch_column, 0], span[patch_column, 1] + 1):
            if band[patch_column, goal] > 0:
                found[0, n_found] = first_patch + patch_column
                found[1, n_found] = goal
                found[2, n_found] = band[patch_column, goal]
                band[patch_column, goal] = 0
                n_found += 1
        span[patch_column, 0], span[patch_column, 1] = band.shape[1], -1
    return n_found


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sample_flow(source, source_unit, target, target_unit, ray, shift, bounds, rows, columns):
    """(rows, columns, 2) uint16 flow: where the centres of the field's cells lie in the target.

    A centre takes the depth of the pixel it lies in, along its own ray.
    """
    height, width = source.shape
    size = (np.float32(target.shape[0]), np.float32(target.shape[1]))
    across, down = np.float32(FLOW_STEPS) / size[1], np.float32(FLOW_STEPS) / size[0]
    values = np.zeros((rows, columns, 2), np.uint16)
    x, y, z = np.empty(columns, np.float32), np.empty(columns, np.float32), np.empty(columns, np.float32)
    depth, at_x, at_y = np.empty(columns, np.int16), np.empty(columns, np.float32), np.empty(columns, np.float32)
    for c in range(columns):
        at_x[c] = (c + 0.5) * width / columns
    for r in range(rows):
        at_y[:] = (r + 0.5) * height / rows
        for c in range(columns):
            depth[c] = source[int(at_y[c]), int(at_x[c])]
        _project_line(depth, source_unit, at_x, at_y, ray, shift, size, x, y, z)
        for c in range(columns):
            outcome = _outcome(depth[c], x[c], y[c], z[c], target, target_unit, bounds)
            if outcome == VISIBLE:
                values[r, c, 0] = int(x[c] * across + np.float32(0.5))
                values[r, c, 1] = int(y[c] * down + np.float32(0.5))
            else:
                values[r, c, 0] = FLOW_CODE + outcome
    return values
