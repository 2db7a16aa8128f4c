"""Two posed depth views -> flow field and per-patch map with visibility codes.

The centres of a lattice of cells over view X are unprojected, carried into view Y and compared with Y's raster:

    p_y = K_y (R_yx K_x^-1 (u, v, 1) z + t_yx)

which is the flow field; the map is counted from it by `patches.rebin`, as any later map at another grid is.
`correspondence_reference` computes the same in plain NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from hatch_data.patches import (
    DEPTH_EDGE,
    FLOW_CODE,
    FLOW_STEPS,
    NO_DEPTH,
    OCCLUDED,
    OUT_OF_VIEW,
    UNDECIDED,
    VISIBLE,
    FlowField,
    Grid,
    PatchMap,
    rebin,
)
from hatch_data.views import View, limits

#: Cells of the stored flow field: with 96 x 128 a map stays within 0.02 of one made from every pixel.
FLOW_GRID = (96, 128)
#: Deeper than any raster says, in its units.
_FAR = np.int32(2**30)


@dataclass(frozen=True)
class Correspondence:
    """What is found from one view to another: the map at the grids asked for, and the flow field for any other."""

    map: PatchMap
    flow: FlowField


def correspond(
    source: View, target: View, source_grid: Grid, target_grid: Grid, stride_px: int | None = None
) -> Correspondence:
    """Find the patches of `source` in `target`.

    The map is made from the stored flow field, or, with `stride_px`, from one with a cell in each square of that many
    pixels of the source's raster: 1 is the highest quality, and no cell is left out.
    """
    stored = flow_field(source, target, FLOW_GRID)
    field = stored if stride_px is None else flow_field(source, target, cells(source, stride_px))
    return Correspondence(rebin(field, source_grid, target_grid), stored)


def cells(view: View, stride_px: int) -> Grid:
    """Rows and columns of a lattice with a cell in each square of `stride_px` pixels of a view's raster."""
    height, width = view.raster.shape
    return -(-height // stride_px), -(-width // stride_px)


def flow_field(source: View, target: View, size: Grid) -> FlowField:
    """Where the centres of rows x columns cells over `source` lie in `target`, or why nowhere."""
    ray, shift = _target_from_source(source, target)
    units = np.float32(source.metres_per_unit), np.float32(target.metres_per_unit)
    scene = source.raster, units[0], target.raster, units[1], ray, shift, limits(target.tolerance)
    return FlowField(_sample(*scene, *size))


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
def _project(depth, unit, at_x, at_y, ray, shift, target_size, x, y, z):
    """Project samples of depth (rows, columns) in units at source positions (columns,), (rows,) to target positions
    x, y and z; outside the target, x is -1. Kept apart because this loop, unlike the next, runs in SIMD."""
    height, width = target_size
    x_x, x_y, x_1, shift_x = ray[0, 0], ray[0, 1], ray[0, 2], shift[0]
    y_x, y_y, y_1, shift_y = ray[1, 0], ray[1, 1], ray[1, 2], shift[1]
    z_x, z_y, z_1, shift_z = ray[2, 0], ray[2, 1], ray[2, 2], shift[2]
    outside = np.float32(-1.0)
    for r in range(depth.shape[0]):
        x_row, y_row, z_row = x_y * at_y[r] + x_1, y_y * at_y[r] + y_1, z_y * at_y[r] + z_1
        for c in range(depth.shape[1]):
            metres = np.float32(depth[r, c]) * unit
            pz = (z_x * at_x[c] + z_row) * metres + shift_z
            scale = np.float32(1.0) / pz
            px = ((x_x * at_x[c] + x_row) * metres + shift_x) * scale
            py = ((y_x * at_x[c] + y_row) * metres + shift_y) * scale
            inside = (pz > 0) & (px >= 0) & (py >= 0) & (px < width) & (py < height)
            x[r, c] = px if inside else outside
            y[r, c] = py if inside else outside
            z[r, c] = pz


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sample(source, source_unit, target, target_unit, ray, shift, bounds, rows, columns):
    """(rows, columns, 2) uint16 flow. A centre takes the depth of the pixel it lies in, along its own ray."""
    size = (np.float32(target.shape[0]), np.float32(target.shape[1]))
    across, down, half = np.float32(FLOW_STEPS) / size[1], np.float32(FLOW_STEPS) / size[0], np.float32(0.5)
    at_x = ((np.arange(columns) + 0.5) * source.shape[1] / columns).astype(np.float32)
    at_y = ((np.arange(rows) + 0.5) * source.shape[0] / rows).astype(np.float32)
    pixel_column, pixel_row = at_x.astype(np.uintp), at_y.astype(np.uintp)
    depth = np.empty((rows, columns), np.int16)
    for r in range(rows):
        for c in range(columns):
            depth[r, c] = source[pixel_row[r], pixel_column[c]]
    x, y, z = (np.empty(depth.shape, np.float32), np.empty(depth.shape, np.float32), np.empty(depth.shape, np.float32))
    _project(depth, source_unit, at_x, at_y, ray, shift, size, x, y, z)
    values = np.zeros((rows, columns, 2), np.uint16)
    for r in range(rows):
        for c in range(columns):
            raw, ahead, outcome = depth[r, c], z[r, c], VISIBLE
            if raw <= 0:
                outcome = NO_DEPTH if raw == 0 else DEPTH_EDGE
            elif x[r, c] < 0:
                outcome = OUT_OF_VIEW
            else:
                column, row = np.uint32(x[r, c]), np.uint32(y[r, c])
                there = np.float32(abs(np.int32(target[row, column]))) * target_unit
                tolerance = max(bounds[0], bounds[1] * ahead, bounds[2] * ahead * ahead)
                if there == 0 or abs(there - ahead) > tolerance:
                    outcome = _unmatched(ahead, np.int64(column), np.int64(row), target, target_unit, bounds)
            if outcome == VISIBLE:
                values[r, c, 0] = np.int32(x[r, c] * across + half)
                values[r, c, 1] = np.int32(y[r, c] * down + half)
            else:
                values[r, c, 0] = FLOW_CODE + outcome
    return values
