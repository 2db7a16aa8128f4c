"""A frame's depth on the raster of its colour image, depth edges marked: what correspondence is computed from.

Maps live on the colour image, geometry comes from the depth camera. Where the depth camera is not already registered
to the colour camera, its measured surface is carried over, never across a depth edge.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from typing import IO

import numba
import numpy as np
from numpy.typing import NDArray

from hatch_data.geometry import Array, Camera
from hatch_data.scene import DepthTolerance, Frame

#: A pixel is a depth edge where its inverse depth departs from the line through its neighbours' (planes have affine
#: inverse depth) by more than this many tolerances: noise has a second difference of some two of them.
EDGE_TOLERANCES = 2.0
#: Raster pixels wanted along a default patch of 28 px of the colour image; a coarser depth image is refined.
RASTER_PX_PER_PATCH = 12
_INT16_MAX = 32767

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

    @property
    def valid_share(self) -> float:
        """Share of the raster with measured depth that is no depth edge."""
        return float((self.raster > 0).mean())


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
    depth = frame.read_depth()
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
    raster = _carry_surface(marked, np.float32(unit), ray, shift, bounds, camera.height, camera.width)
    return View(raster, unit, camera, frame.world_from_camera, sensor.tolerance)


def _as_int16(values: NDArray, metres_per_unit: float) -> tuple[NDArray[np.int16], float]:
    """Depth in int16 units: as stored where it fits, else rescaled to the range of the frame."""
    greatest = float(values.max(initial=0))
    if values.dtype.kind in "ui" and greatest <= _INT16_MAX:
        return values.astype(np.int16), metres_per_unit
    step = greatest / _INT16_MAX if greatest > 0 else 1.0
    return np.rint(values / np.float32(step)).astype(np.int16), metres_per_unit * step


def _same_rays(depth: Camera, color: Camera) -> bool:
    """Whether the two cameras see the same rays at the same share of their image, to a tenth of a depth pixel."""
    resized = color.resized(depth.width, depth.height)
    return bool(np.abs(resized.matrix - depth.matrix).max() < 0.1)


@numba.njit(cache=True, nogil=True)
def _bends(before, here, after, unit, bounds, factor):
    """Whether depth breaks between three pixels in a row, the middle one measured."""
    z = here * unit
    tolerance = factor * max(bounds[0], bounds[1] * z, bounds[2] * z * z)
    if before > 0 and after > 0:
        return abs(z * (z / (before * unit) + z / (after * unit) - 2)) > tolerance
    beside = before + after
    return beside > 0 and abs(beside * unit - z) > tolerance


@numba.njit(cache=True, nogil=True)
def mark_edges(raw, unit, bounds):
    """int16 depth (height, width) -> the same with depth edges negated, along rows and columns."""
    height, width = raw.shape
    marked = raw.copy()
    factor = np.float32(EDGE_TOLERANCES)
    for r in range(height):
        for c in range(width):
            here = raw[r, c]
            if here == 0:
                continue
            left = raw[r, c - 1] if c > 0 else np.int16(0)
            right = raw[r, c + 1] if c + 1 < width else np.int16(0)
            above = raw[r - 1, c] if r > 0 else np.int16(0)
            below = raw[r + 1, c] if r + 1 < height else np.int16(0)
            if _bends(left, here, right, unit, bounds, factor) or _bends(above, here, below, unit, bounds, factor):
                marked[r, c] = -here
    return marked


@numba.njit(cache=True, nogil=True)
def _carry_surface(marked, unit, ray, shift, bounds, rows, columns):
    """Rasterise the surface of a marked depth image in another camera: nearest surface wins, edges stay edges.

    Each square of four depth pixels is two triangles, unless its corners lie further apart than a depth edge. Inverse
    depth is linear in the image of a plane. `ray` (3, 3) and `shift` (3,) take depth pixels to raster pixels.
    """
    height, width = marked.shape
    inverse_depth = np.zeros((rows, columns), np.float32)
    edge = np.zeros((rows, columns), np.bool_)
    u = np.empty(4)
    v = np.empty(4)
    w = np.empty(4)
    for r in range(height - 1):
        for c in range(width - 1):
            least, greatest, is_edge, whole = np.inf, 0.0, False, True
            for k in range(4):
                rr, cc = r + k // 2, c + k % 2
                raw = marked[rr, cc]
                z = abs(raw) * unit
                whole = whole and raw != 0
                is_edge = is_edge or raw < 0
                least, greatest = min(least, z), max(greatest, z)
                pz = (ray[2, 0] * cc + ray[2, 1] * rr + ray[2, 2]) * z + shift[2]
                whole = whole and pz > 0
                if whole:
                    u[k] = ((ray[0, 0] * cc + ray[0, 1] * rr + ray[0, 2]) * z + shift[0]) / pz
                    v[k] = ((ray[1, 0] * cc + ray[1, 1] * rr + ray[1, 2]) * z + shift[1]) / pz
                    w[k] = 1 / pz
            torn = is_edge and greatest - least > max(bounds[0], bounds[1] * least, bounds[2] * least * least)
            if whole and not torn:
                _fill_triangle(u, v, w, 0, 1, 2, inverse_depth, edge, is_edge)
                _fill_triangle(u, v, w, 3, 2, 1, inverse_depth, edge, is_edge)
    raster = np.zeros((rows, columns), np.int16)
    for r in range(rows):
        for c in range(columns):
            if inverse_depth[r, c] > 0:
                depth = min(round(1 / (inverse_depth[r, c] * unit)), _INT16_MAX)
                raster[r, c] = -depth if edge[r, c] else depth
    return raster


@numba.njit(cache=True, nogil=True)
def _fill_triangle(u, v, w, i, j, k, inverse_depth, edge, is_edge):
    area = (u[j] - u[i]) * (v[k] - v[i]) - (u[k] - u[i]) * (v[j] - v[i])
    if abs(area) < 1e-12:
        return
    rows, columns = inverse_depth.shape
    for r in range(max(int(np.ceil(min(v[i], v[j], v[k]))), 0), min(int(max(v[i], v[j], v[k])), rows - 1) + 1):
        for c in range(max(int(np.ceil(min(u[i], u[j], u[k]))), 0), min(int(max(u[i], u[j], u[k])), columns - 1) + 1):
            b = ((c - u[i]) * (v[k] - v[i]) - (u[k] - u[i]) * (r - v[i])) / area
            d = ((u[j] - u[i]) * (r - v[i]) - (c - u[i]) * (v[j] - v[i])) / area
            if b >= 0 and d >= 0 and b + d <= 1:
                value = w[i] + b * (w[j] - w[i]) + d * (w[k] - w[i])
                if value > inverse_depth[r, c]:
                    inverse_depth[r, c] = value
                    edge[r, c] = is_edge


class ViewStore:
    """The views of a scene: rasters in memory up to `memory_bytes`, the rest in a temporary file, decoded once."""

    def __init__(self, memory_bytes: int = 400 << 20):
        self._views: list[View] = []
        self._room = memory_bytes
        self._spilled: dict[int, tuple[int, tuple[int, ...]]] = {}
        self._file: IO[bytes] | None = None

    def append(self, view: View) -> None:
        """Keep a view."""
        if view.raster.nbytes <= self._room:
            self._room -= view.raster.nbytes
        else:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="hatch-depth-")
            offset = self._file.seek(0, os.SEEK_END)
            self._file.write(view.raster.tobytes())
            self._spilled[len(self._views)] = (offset, view.raster.shape)
            view = replace(view, raster=np.empty((0, 0), np.int16))
        self._views.append(view)

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
