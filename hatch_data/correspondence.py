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
    units = np.float32(source.metres_per_unit), np.float32(target.metres_per_unit)
    scene = source.raster, units[0], target.raster, units[1], _target_from_source(source, target)
    return FlowField(_sample(*scene, limits(target.tolerance), *size).view(np.uint16).reshape(*size, 2))


def _target_from_source(source: View, target: View) -> NDArray[np.float32]:
    """(3, 4) K_y (R_yx K_x^-1 | t_yx): homogeneous target position = [:, :3] @ (u, v, 1) * z + [:, 3], positions
    counted in pixels from the top-left corner of the image."""
    moved = target.position_from_world[:, :3] @ source.world_from_position
    moved[:, 3] += target.position_from_world[:, 3]
    return moved.astype(np.float32)


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
def _project(depth, unit, at_x, at_y, moved, size, x, y, z, pixel):
    """Project a line of depths (columns,) in units at source positions (columns,), at_y to target positions x, y and z
    and the number of the target pixel there, -1 where there is no depth or it lies outside. Kept apart, as the next is,
    because these loops run in SIMD."""
    height, width, per_row = np.float32(size[0]), np.float32(size[1]), np.int32(size[1])
    x_x, x_1, shift_x = moved[0, 0], moved[0, 1] * at_y + moved[0, 2], moved[0, 3]
    y_x, y_1, shift_y = moved[1, 0], moved[1, 1] * at_y + moved[1, 2], moved[1, 3]
    z_x, z_1, shift_z = moved[2, 0], moved[2, 1] * at_y + moved[2, 2], moved[2, 3]
    none, outside = np.float32(0), np.int32(-1)
    for c in range(depth.shape[0]):
        metres = np.float32(depth[c]) * unit
        pz = (z_x * at_x[c] + z_1) * metres + shift_z
        scale = np.float32(1.0) / pz
        px, py = ((x_x * at_x[c] + x_1) * metres + shift_x) * scale, ((y_x * at_x[c] + y_1) * metres + shift_y) * scale
        inside = (depth[c] > 0) & (pz > 0) & (px >= 0) & (py >= 0) & (px < width) & (py < height)
        x[c], y[c], z[c] = px if inside else none, py if inside else none, pz
        pixel[c] = np.int32(y[c]) * per_row + np.int32(x[c]) if inside else outside


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "arcp", "nsz"})
def _compare(depth, x, y, z, pixel, measured, unit, bounds, across, down, flow, doubtful):
    """The flow of a line as if all that lies inside were visible, and where the target's depth does not agree."""
    absolute, relative, quadratic = bounds
    half, up = np.float32(0.5), np.int32(65536)
    code = np.int32(FLOW_CODE)
    beyond, none, edge = code + np.int32(OUT_OF_VIEW), code + np.int32(NO_DEPTH), code + np.int32(DEPTH_EDGE)
    for c in range(depth.shape[0]):
        there = np.float32(abs(measured[c])) * unit
        tolerance = max(absolute, relative * z[c], quadratic * z[c] * z[c])
        inside = pixel[c] >= 0
        why = none if depth[c] == 0 else (edge if depth[c] < 0 else beyond)
        place = np.int32(x[c] * across + half) + np.int32(y[c] * down + half) * up
        flow[c] = place if inside else why
        doubtful[c] = inside & ((measured[c] == 0) | (abs(there - z[c]) > tolerance))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sample(source, source_unit, target, target_unit, moved, bounds, rows, columns):
    """(rows, columns) uint32 flow, x in the low half. A centre takes the depth of the pixel it lies in, along its own
    ray."""
    across, down = np.float32(FLOW_STEPS / target.shape[1]), np.float32(FLOW_STEPS / target.shape[0])
    at_x = ((np.arange(columns) + 0.5) * source.shape[1] / columns).astype(np.float32)
    at_y = ((np.arange(rows) + 0.5) * source.shape[0] / rows).astype(np.float32)
    pixel_column, pixel_row = at_x.astype(np.uintp), at_y.astype(np.uintp)
    x, y, z = np.empty(columns, np.float32), np.empty(columns, np.float32), np.empty(columns, np.float32)
    depth, pixel, measured = np.empty(columns, np.int32), np.empty(columns, np.int32), np.empty(columns, np.int32)
    doubtful, left = np.empty(columns, np.bool_), np.empty(columns + 1, np.uintp)
    pixels, flow = target.reshape(-1), np.empty((rows, columns), np.uint32)
    for r in range(rows):
        line = source[pixel_row[r]]
        for c in range(columns):
            depth[c] = line[pixel_column[c]]
        _project(depth, source_unit, at_x, at_y[r], moved, target.shape, x, y, z, pixel)
        for c in range(columns):
            measured[c] = pixels[np.uintp(max(pixel[c], 0))]
        _compare(depth, x, y, z, pixel, measured, target_unit, bounds, across, down, flow[r], doubtful)
        n_left = 0
        for c in range(columns):
            left[n_left] = c
            n_left += doubtful[c]
        for c in left[:n_left]:
            outcome = _unmatched(z[c], np.int64(x[c]), np.int64(y[c]), target, target_unit, bounds)
            if outcome != VISIBLE:
                flow[r, c] = FLOW_CODE + outcome
    return flow
