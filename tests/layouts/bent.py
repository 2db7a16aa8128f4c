"""Lenses by their published formulas, written down a second time: what renders the distorted images of a layout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hatch_data.geometry import Array
from hatch_data.scans.lens import Lens


@dataclass(frozen=True)
class Bent:
    """What `room.render` asks of a camera, for a lens of COLMAP's OPENCV (k1 k2 p1 p2) or OPENCV_FISHEYE (k1 to k4)."""

    lens: Lens

    @property
    def width(self) -> int:
        return self.lens.camera.width

    @property
    def height(self) -> int:
        return self.lens.camera.height

    def unproject(self, pixels: Array, depth: Array) -> Array:
        camera = self.lens.camera
        x, y = (pixels[..., 0] - camera.cx) / camera.fx, (pixels[..., 1] - camera.cy) / camera.fy
        ray = (
            _fisheye(x, y, self.lens.distortion)
            if "FISHEYE" in self.lens.model
            else _opencv(x, y, self.lens.distortion)
        )
        return np.stack([*ray, np.ones_like(x)], axis=-1) * depth[..., None]


def _opencv(x: Array, y: Array, distortion: tuple[float, ...]) -> tuple[Array, Array]:
    """Fixed points of x' = x (1 + k1 r^2 + k2 r^4) + 2 p1 x y + p2 (r^2 + 2 x^2), and so in y."""
    k1, k2, p1, p2 = distortion
    u, v = x, y
    for _ in range(60):
        r2 = u * u + v * v
        radial = 1 + k1 * r2 + k2 * r2 * r2
        u, v = (
            (x - 2 * p1 * u * v - p2 * (r2 + 2 * u * u)) / radial,
            (y - 2 * p2 * u * v - p1 * (r2 + 2 * v * v)) / radial,
        )
    return u, v


def _fisheye(x: Array, y: Array, distortion: tuple[float, ...]) -> tuple[Array, Array]:
    """Newton's roots of r' = a (1 + k1 a^2 + k2 a^4 + k3 a^6 + k4 a^8), a the angle from the optical axis."""
    r = np.hypot(x, y)
    k = np.array([1.0, *distortion])
    powers = np.arange(1, 10, 2)
    a = r.copy()
    for _ in range(30):
        value = sum(k[i] * a**p for i, p in enumerate(powers)) - r
        slope = sum(p * k[i] * a ** (p - 1) for i, p in enumerate(powers))
        a = a - value / slope
    scale = np.where(r > 1e-12, np.tan(a) / np.where(r > 1e-12, r, 1), 1.0)
    return x * scale, y * scale
