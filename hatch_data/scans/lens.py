"""Lenses that bend straight lines, and the pinhole cameras that images are straightened for.

Models and their formulas are COLMAP's, computed by pycolmap; COLMAP's pixels begin at the corner of the image, this
project's at the centre of the first pixel, half a pixel further. A lens without distortion needs no pycolmap, and its
images are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import isfinite
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Array, Camera
from hatch_data.scans import files
from hatch_data.scans.recoded import Pixels

#: Models that are a pinhole camera where all their distortion parameters are zero.
PERSPECTIVE = frozenset({"SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV", "FOV"})
#: A straightened image reaches no further than this from its optical axis: beyond, a plane stretches without end.
WIDEST_DEG = 62.0
#: Pixels of the border between points at which the reach of a lens is measured.
BORDER_STEP_PX = 4


@dataclass(frozen=True)
class Lens:
    """The camera as it takes images: `camera` holds size, focal lengths and principal point (project pixels, centres at
    integers) before distortion; `model` and `distortion` are COLMAP's name and its parameters after those."""

    camera: Camera
    model: str = "PINHOLE"
    distortion: tuple[float, ...] = ()

    @classmethod
    def from_colmap(cls, camera: Any) -> Lens:
        """Of a `pycolmap.Camera`. Raises `ScanError` for a panorama, which no pinhole camera can show."""
        if camera.model_name == "EQUIRECTANGULAR":
            raise ScanError("a camera is EQUIRECTANGULAR; cut panoramas into perspective views first")
        known = {*camera.focal_length_idxs(), *camera.principal_point_idxs()}
        distortion = tuple(float(p) for i, p in enumerate(camera.params) if i not in known)
        pinhole = Camera(
            camera.width,
            camera.height,
            camera.focal_length_x,
            camera.focal_length_y,
            camera.principal_point_x - 0.5,
            camera.principal_point_y - 0.5,
        )
        return cls(pinhole, camera.model_name, distortion)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels of the images as they are stored."""
        return self.camera.width, self.camera.height

    @property
    def sound(self) -> bool:
        """Whether a lens can be like this, and images can be straightened for it."""
        return self.camera.sound and all(map(isfinite, self.distortion)) and self.pinhole.sound

    @property
    def straight(self) -> bool:
        """Whether the images are a pinhole camera's already."""
        return self.model in PERSPECTIVE and not any(self.distortion)

    @cached_property
    def pinhole(self) -> Camera:
        """The camera of the straightened image: of the same size, as wide as it can be without blank pixels."""
        return self.camera if self.straight else _widest(self)

    def resized(self, width: int, height: int) -> Lens:
        """The same lens in front of `width` x `height` pixels: distortion is that of rays, not of pixels."""
        return Lens(self.camera.resized(width, height), self.model, self.distortion)

    def rays(self, pixels: Array) -> Array:
        """Pixels (n, 2) of the stored image -> (n, 2), x / z and y / z; not finite where a ray does not go forward."""
        found = _pycolmap_camera(self).cam_from_img(pixels + 0.5)
        return np.asarray(found, dtype=np.float64).reshape(-1, 2)

    def project(self, rays: Array) -> Array:
        """Rays (n, 2), x / z and y / z -> pixels (n, 2) of the stored image."""
        directions = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
        return np.asarray(_pycolmap_camera(self).img_from_cam(directions)).reshape(-1, 2) - 0.5


def straightened(lens: Lens, read_pixels: Callable[[], Pixels]) -> Pixels:
    """A stored colour image as `lens.pinhole` sees it."""
    return _bilinear(read_pixels(), _sources(lens, lens.pinhole))


def straightened_raster(lens: Lens, raster: NDArray) -> NDArray:
    """An image of values that must not be mixed (planar depth, masks), of any size, nearest pixel for pixel."""
    height, width = raster.shape
    source = _sources(lens.resized(width, height), lens.pinhole.resized(width, height))
    columns, rows = np.rint(source).astype(np.intp).transpose(2, 0, 1)
    return raster[rows.clip(0, height - 1), columns.clip(0, width - 1)]


def _pycolmap_camera(lens: Lens) -> Any:
    camera = files.needs("pycolmap").Camera.create_from_model_name(
        0, lens.model, lens.camera.fx, lens.camera.width, lens.camera.height
    )
    params = np.zeros(len(camera.params))
    focal = list(camera.focal_length_idxs())
    params[focal] = [lens.camera.fx, lens.camera.fy][: len(focal)]
    params[list(camera.principal_point_idxs())] = lens.camera.cx + 0.5, lens.camera.cy + 0.5
    rest = [i for i in range(len(params)) if i not in {*focal, *camera.principal_point_idxs()}]
    params[rest] = lens.distortion
    camera.params = params
    return camera


@lru_cache(maxsize=64)
def _widest(lens: Lens) -> Camera:
    """Square pixels behind the largest upright rectangle of rays that the whole border of the image encloses."""
    width, height = lens.size
    across = np.linspace(-0.5, width - 0.5, 2 + width // BORDER_STEP_PX)
    down = np.linspace(-0.5, height - 0.5, 2 + height // BORDER_STEP_PX)
    farthest = np.tan(np.radians(WIDEST_DEG))

    def reach(x: Array, y: Array, axis: int, side: int) -> float:
        """How far all rays of one side of the border go outwards."""
        rays = side * lens.rays(np.stack(np.broadcast_arrays(x, y), axis=1).astype(np.float64))[:, axis]
        return float(np.where(np.isfinite(rays) & (rays > 0), rays, farthest).clip(max=farthest).min())

    left, right = reach(np.array(-0.5), down, 0, -1), reach(np.array(width - 0.5), down, 0, 1)
    top, bottom = reach(across, np.array(-0.5), 1, -1), reach(across, np.array(height - 0.5), 1, 1)
    focal = max(width / (left + right), height / (top + bottom))
    cx, cy = focal * (left - right) / 2 + width / 2 - 0.5, focal * (top - bottom) / 2 + height / 2 - 0.5
    return Camera(width, height, focal, focal, cx, cy)


@lru_cache(maxsize=4)
def _sources(lens: Lens, camera: Camera) -> NDArray[np.float32]:
    """(height, width, 2): where in the stored image each pixel of `camera` lies. Raises `FrameError` where nowhere."""
    v, u = np.mgrid[: camera.height, : camera.width].astype(np.float64)
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy], axis=-1)
    found = lens.project(rays.reshape(-1, 2)).reshape(*u.shape, 2).astype(np.float32)
    if np.isnan(found).any():
        raise FrameError("bad_intrinsics", f"{lens}: its distortion leads nowhere; restore the intrinsics")
    return found


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _bilinear(image, source):
    """Colours (height, width, 3) at `source` (h, w, 2) pixels (x, y), held at the border."""
    height, width = image.shape[:2]
    out = np.empty((source.shape[0], source.shape[1], 3), np.uint8)
    for r in range(source.shape[0]):
        for c in range(source.shape[1]):
            x = min(max(source[r, c, 0], np.float32(0.0)), np.float32(width - 1))
            y = min(max(source[r, c, 1], np.float32(0.0)), np.float32(height - 1))
            left, top = min(int(x), width - 2), min(int(y), height - 2)
            x, y = x - np.float32(left), y - np.float32(top)
            for k in range(3):
                above = image[top, left, k] * (1 - x) + image[top, left + 1, k] * x
                below = image[top + 1, left, k] * (1 - x) + image[top + 1, left + 1, k] * x
                out[r, c, k] = np.uint8(above * (1 - y) + below * y + np.float32(0.5))
    return out
