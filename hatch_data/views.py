"""A frame's depth on the raster of its colour image, depth edges marked: what correspondence is computed from.

Maps live on the colour image, geometry comes from the depth camera. Where the depth camera is not already registered
to the colour camera, its measured surface is carried over, never across a depth edge.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from typing import IO

import numba
import numpy as np
from numpy.typing import NDArray

from hatch_data.errors import ScanError
from hatch_data.geometry import Array, Camera, inverse
from hatch_data.scene import DepthTolerance, Frame

#: A pixel is a depth edge where its inverse depth departs from the line through its neighbours' (planes have affine
#: inverse depth) by more than this many tolerances: noise has a second difference of some two of them.
EDGE_TOLERANCES = 2.0
#: Raster pixels wanted along a default patch of 28 px of the colour image; a coarser depth image is refined.
RASTER_PX_PER_PATCH = 12
_INT16_MAX = 32767
_CORNER_FROM_CENTRE = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
#: Units of the deepest pixel of a rescaled image: seen from the colour camera it may lie somewhat deeper.
_FULL_SCALE = 30000
#: Share of a triangle by which rounding may put a pixel beyond its side.
_ON_SIDE = np.float32(1e-4)

Limits = tuple[np.float32, np.float32, np.float32]


@dataclass(frozen=True)
class View:
    """A frame's depth as its colour camera sees it.

    `raster` (height, width) int16: depth in units of `metres_per_unit`; 0 where there is none, negative on a depth
    edge. `camera` describes the raster; the edges of the raster are the edges of the colour image.
    """

    raster: NDArray[np.int16]
    metres_per_unit: float
    camera: Camera
    world_from_camera: Array
    tolerance: DepthTolerance

    @cached_property
    def position_from_world(self) -> Array:
        """(3, 4): homogeneous world points to homogeneous positions, in raster pixels from the top-left corner."""
        return _CORNER_FROM_CENTRE @ self.camera.matrix @ inverse(self.world_from_camera)[:3]

    @cached_property
    def world_from_position(self) -> Array:
        """(3, 4): ray of a homogeneous position, as long as one metre of depth, and the centre of the camera."""
        c = self.camera
        ray_x, ray_y = [1 / c.fx, 0, -(c.cx + 0.5) / c.fx], [0, 1 / c.fy, -(c.cy + 0.5) / c.fy]
        rays = self.world_from_camera[:3, :3] @ np.array([ray_x, ray_y, [0.0, 0.0, 1.0]])
        return np.concatenate([rays, self.world_from_camera[:3, 3:]], axis=1)

    @property
    def valid_share(self) -> float:
        """Share of the raster with measured depth that is no depth edge."""
        return float(np.count_nonzero(self.raster > 0) / self.raster.size)


def limits(tolerance: DepthTolerance) -> Limits:
    """The three numbers of a tolerance, for kernels."""
    return (
        np.float32(tolerance.absolute_m),
        np.float32(tolerance.relative),
        np.float32(tolerance.quadratic_per_m),
    )


def prepare(frame: Frame) -> View:
    """Read a frame's depth, once, and bring it onto the raster of its colour image.

    Depth registered to the colour image and fine enough for patches is taken pixel for pixel; any other (other
    intrinsics, an offset between the cameras, too coarse) is carried over as a surface. Raises `FrameError` where the
    depth cannot be read.
    """
    depth = frame.depth()
    raw, unit = _as_int16(depth.values, depth.metres_per_unit)
    bounds = limits(frame.sensor.tolerance)
    marked = mark_edges(raw, np.float32(unit), bounds)
    sensor, color = frame.sensor, frame.camera
    finest = max(sensor.camera.width, round(color.width * RASTER_PX_PER_PATCH / 28))
    registered = _same_rays(sensor.camera, color) and np.abs(sensor.color_from_depth - np.eye(4)).max() < 1e-9
    if registered and sensor.camera.width >= finest:
        camera = color.resized(sensor.camera.width, sensor.camera.height)
        return View(marked, unit, camera, frame.world_from_camera, sensor.tolerance)
    width = min(color.width, round(max(finest, color.width * sensor.camera.fx / color.fx)))
    camera = color.resized(width, round(color.height * width / color.width))
    ray = camera.matrix @ sensor.color_from_depth[:3, :3] @ np.linalg.inv(sensor.camera.matrix)
    shift = camera.matrix @ sensor.color_from_depth[:3, 3]
    scale = np.float32(unit), ray.astype(np.float32), shift.astype(np.float32)
    raster = _carry_surface(marked, *scale, bounds, camera.height, camera.width)
    return View(raster, unit, camera, frame.world_from_camera, sensor.tolerance)


def _as_int16(values: NDArray, metres_per_unit: float) -> tuple[NDArray[np.int16], float]:
    """Depth in int16 units: as stored where it fits, else rescaled to the range of the frame."""
    greatest = float(values.max(initial=0))
    if values.dtype.kind in "ui" and greatest <= _INT16_MAX:
        return values.astype(np.int16), metres_per_unit
    step = greatest / _FULL_SCALE if greatest > 0 else 1.0
    return np.rint(values / np.float32(step)).astype(np.int16), metres_per_unit * step


def _same_rays(depth: Camera, color: Camera) -> bool:
    """Whether the two cameras see the same rays at the same share of their image, to a tenth of a depth pixel."""
    resized = color.resized(depth.width, depth.height)
    return bool(np.abs(resized.matrix - depth.matrix).max() < 0.1)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def mark_edges(raw, unit, bounds):
    """int16 depth (height, width) -> the same with depth edges negated, along rows and columns."""
    height, width = raw.shape
    padded = np.zeros((height + 2, width + 2), np.int16)
    padded[1:-1, 1:-1] = raw
    marked = np.empty_like(raw)
    factor = np.float32(EDGE_TOLERANCES)
    for r in range(height):
        above, row, below, out = padded[r], padded[r + 1], padded[r + 2], marked[r]
        for c in range(width):
            z = np.float32(row[c + 1]) * unit
            limit = factor * max(bounds[0], bounds[1] * z, bounds[2] * z * z)
            bends = _bends(np.float32(row[c]) * unit, z, np.float32(row[c + 2]) * unit, limit)
            bends |= _bends(np.float32(above[c + 1]) * unit, z, np.float32(below[c + 1]) * unit, limit)
            out[c] = -row[c + 1] if bends else row[c + 1]
    return marked


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _bends(before, z, after, limit):
    """Whether three depths in a row, 0 where there is none, bend by more than the limit in metres.

    Multiplied out and without branches, so that it runs in SIMD: z (z / before + z / after - 2) > limit.
    """
    total, product = before + after, before * after
    bend = abs(z * (z * total - product - product)) > limit * product
    step = abs(total - z) > limit
    return (bend & (product > 0)) | (step & (product == 0) & (total > 0))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _carry_surface(marked, unit, ray, shift, bounds, rows, columns):
    """Rasterise the surface of a marked depth image in another camera: nearest surface wins, edges stay edges.

    Each square of four depth pixels is two triangles, unless its corners lie further apart than a depth edge. Inverse
    depth is linear in the image of a plane. `ray` (3, 3) and `shift` (3,) take depth pixels to raster pixels.
    """
    height, width = marked.shape
    nowhere, last_row, last_column = np.int32(rows * columns), np.float32(rows - 1), np.float32(columns - 1)
    inverse_depth = np.zeros(rows * columns + 1, np.float32)  # negative on an edge; the last pixel is no part of it
    u, v, w = np.empty((2, width), np.float32), np.empty((2, width), np.float32), np.empty((2, width), np.float32)
    pixel, value = np.empty(width - 1, np.int32), np.empty(width - 1, np.float32)
    is_left, left = np.empty(width - 1, np.bool_), np.empty(width, np.int32)
    for r in range(height):
        a, b = (r + 1) % 2, r % 2
        _project_row(marked[r], unit, ray, shift, np.float32(r), u[b], v[b], w[b])
        if r == 0:
            continue
        above, below = (marked[r - 1], u[a], v[a], w[a]), (marked[r], u[b], v[b], w[b])
        _cover_single_pixels(*above, *below, last_row, last_column, nowhere, pixel, value, is_left)
        n_left = 0
        for c in range(width - 1):
            at = np.uintp(pixel[c])
            there = inverse_depth[at]
            inverse_depth[at] = value[c] if value[c] > abs(there) else there
            left[n_left] = c
            n_left += is_left[c]
        _cover_squares(*above, *below, left[:n_left], unit, bounds, rows, columns, inverse_depth)
    return _as_depth(inverse_depth[:-1], unit).reshape(rows, columns)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "arcp", "nsz"})
def _cover_single_pixels(
    p_raw, p_u, p_v, p_w, s_raw, s_u, s_v, s_w, last_row, last_column, nowhere, pixel, value, is_left
):  # fmt: skip
    """Of each square between two rows of depth pixels that can cover but one raster pixel, as nearly all do: that pixel
    and its inverse depth, else `nowhere` and what does not matter. Those that can cover more, or lie on an edge, are
    left. Kept apart because this loop runs in SIMD."""
    none, one, far = np.float32(0), np.float32(1), np.float32(1e6)
    per_row = last_column + one
    for c in range(pixel.shape[0]):
        i, j = np.uintp(c), np.uintp(c + 1)
        p, q = (p_u[i], p_v[i], p_w[i]), (p_u[j], p_v[j], p_w[j])
        s, t = (s_u[i], s_v[i], s_w[i]), (s_u[j], s_v[j], s_w[j])
        left, right = max(min(p[0], q[0], s[0], t[0]), none), min(max(p[0], q[0], s[0], t[0]), last_column)
        top, bottom = max(min(p[1], q[1], s[1], t[1]), none), min(max(p[1], q[1], s[1], t[1]), last_row)
        x, y = np.float32(np.int32(min(left, far))), np.float32(np.int32(min(top, far)))
        x, y = x + (one if x < left else none), y + (one if y < top else none)
        covers = (min(p[2], q[2], s[2], t[2]) > none) & (x <= right) & (y <= bottom)
        one_pixel = (x + one > right) & (y + one > bottom)
        no_edge = min(p_raw[i], p_raw[j], s_raw[i], s_raw[j]) >= 0
        upper, lower = _inverse_depth_at(x, y, p, q, s), _inverse_depth_at(x, y, t, s, q)
        found = upper if upper > none else lower
        value[i] = found
        pixel[i] = np.int32(y * per_row + x) if covers & one_pixel & no_edge & (found > none) else nowhere
        is_left[i] = covers & (not (one_pixel & no_edge))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _cover_squares(p_raw, p_u, p_v, p_w, s_raw, s_u, s_v, s_w, squares, unit, bounds, rows, columns, inverse_depth):
    """Draw both triangles of some squares between two rows of depth pixels, numbered from the left."""
    for c in squares:
        is_edge = min(p_raw[c], p_raw[c + 1], s_raw[c], s_raw[c + 1]) < 0
        if is_edge and _torn(p_raw[c], p_raw[c + 1], s_raw[c], s_raw[c + 1], unit, bounds):
            continue
        p, q = (p_u[c], p_v[c], p_w[c]), (p_u[c + 1], p_v[c + 1], p_w[c + 1])
        s, t = (s_u[c], s_v[c], s_w[c]), (s_u[c + 1], s_v[c + 1], s_w[c + 1])
        left, right = max(min(p[0], q[0], s[0], t[0]), 0), min(max(p[0], q[0], s[0], t[0]), columns - 1)
        top, bottom = max(min(p[1], q[1], s[1], t[1]), 0), min(max(p[1], q[1], s[1], t[1]), rows - 1)
        for row in range(int(np.ceil(top)), int(np.floor(bottom)) + 1):
            for column in range(int(np.ceil(left)), int(np.floor(right)) + 1):
                x, y, at = np.float32(column), np.float32(row), np.uintp(row * columns + column)
                value = _inverse_depth_at(x, y, p, q, s)
                if value == 0:
                    value = _inverse_depth_at(x, y, t, s, q)
                if value > abs(inverse_depth[at]):
                    inverse_depth[at] = -value if is_edge else value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _project_row(marked, unit, ray, shift, row, u, v, w):
    """One row of depth pixels in the raster: positions u, v and inverse depth w, 0 where there is nothing."""
    for c in range(marked.shape[0]):
        column, z = np.float32(c), np.float32(abs(np.int32(marked[c]))) * unit
        pz = (ray[2, 0] * column + ray[2, 1] * row + ray[2, 2]) * z + shift[2]
        inverse = np.float32(1.0) / pz
        u[c] = ((ray[0, 0] * column + ray[0, 1] * row + ray[0, 2]) * z + shift[0]) * inverse
        v[c] = ((ray[1, 0] * column + ray[1, 1] * row + ray[1, 2]) * z + shift[1]) * inverse
        w[c] = inverse if (z > 0) & (pz > 0) else np.float32(0.0)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _torn(a, b, c, d, unit, bounds):
    """Whether four depths of a square, in units and negative on an edge, are further apart than a depth edge."""
    least = min(abs(a), abs(b), abs(c), abs(d)) * unit
    greatest = max(abs(a), abs(b), abs(c), abs(d)) * unit
    return greatest - least > max(bounds[0], bounds[1] * least, bounds[2] * least * least)


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _inverse_depth_at(x, y, a, b, c):
    """Inverse depth at a pixel of a triangle with corners (x, y, inverse depth), 0 outside of it. Without branches."""
    x, y = x - a[0], y - a[1]
    b_x, b_y, c_x, c_y = b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1]
    scale = np.float32(1.0) / (b_x * c_y - c_x * b_y)
    to_b, to_c = (x * c_y - c_x * y) * scale, (b_x * y - x * b_y) * scale
    # Not a number where the triangle is seen from its side; a pixel on the side of two triangles is in one of them.
    inside = (to_b >= -_ON_SIDE) & (to_c >= -_ON_SIDE) & (to_b + to_c <= np.float32(1) + _ON_SIDE)
    return a[2] + to_b * (b[2] - a[2]) + to_c * (c[2] - a[2]) if inside else np.float32(0.0)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _as_depth(inverse_depth, unit):
    """Signed inverse depth (n,) in 1 / metres -> int16 units of depth, of the same sign."""
    raster = np.empty(inverse_depth.shape, np.int16)
    for k in range(raster.shape[0]):
        depth = np.float32(1.0) / (inverse_depth[k] * unit)
        rounded = np.int32(depth + np.copysign(np.float32(0.5), depth))
        raster[k] = np.int16(rounded) if abs(depth) <= _INT16_MAX else np.int16(0)
    return raster


class ViewStore:
    """The views of a scene: rasters in memory up to `memory_bytes`, the rest in a temporary file, decoded once."""

    def __init__(self, memory_bytes: int = 400 << 20):
        self._views: list[View] = []
        self._room = memory_bytes
        self._spilled: dict[int, tuple[int, tuple[int, ...]]] = {}
        self._file: IO[bytes] | None = None

    def append(self, view: View) -> None:
        """Keep a view. Raises `ScanError` where the temporary folder takes no more."""
        if view.raster.nbytes <= self._room:
            self._room -= view.raster.nbytes
        else:
            self._spilled[len(self._views)] = (self._spill(view.raster), view.raster.shape)
            view = replace(view, raster=np.empty((0, 0), np.int16))
        self._views.append(view)

    def _spill(self, raster: NDArray[np.int16]) -> int:
        """Where in the temporary file the raster lies, in bytes."""
        folder = tempfile.gettempdir()
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="hatch-depth-")
            offset = self._file.seek(0, os.SEEK_END)
            self._file.write(raster.tobytes())
            self._file.flush()
        except OSError as error:
            raise ScanError(
                f"{folder}: the temporary folder does not take the scan's depth ({error.strerror}); "
                "set TMPDIR to a folder with more room"
            ) from error
        return offset

    def __len__(self) -> int:
        return len(self._views)

    def __getitem__(self, index: int) -> View:
        view = self._views[index]
        if index not in self._spilled or self._file is None:
            return view
        offset, shape = self._spilled[index]
        self._file.seek(offset)
        raster = np.frombuffer(self._file.read(2 * shape[0] * shape[1]), np.int16).reshape(shape)
        return replace(view, raster=raster)
