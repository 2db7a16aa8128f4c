"""How well frames agree: points of one depth image carried into another and held against the depth measured there.

Differences are relative to depth, so that a scale that is off by a thousand is judged like one that is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from hatch_data.geometry import Array
from hatch_data.views import View

#: Points of a frame that are carried: a share of them has a standard error below 0.02.
POINTS = 1000
#: Depths agree within this share: the noise of a Kinect, three standard deviations at 4 m.
AGREES = 0.03
#: A pair tells something where this share of the points lands on measured depth.
LEAST_LANDED = 0.15
#: Smaller errors, as a share of depth, count alike: they are noise, not a convention.
NOISE = 2e-3

Pair = tuple[int, int]


def spread(count: int, most: int) -> NDArray[np.int64]:
    """At most `most` different numbers below `count`, evenly spread, both ends among them."""
    return np.unique(np.linspace(0, count - 1, most).round().astype(int))


class Model(NamedTuple):
    """What is believed of some frames: poses (n, 4, 4) world-from-camera (NaN where there is none), intrinsics (n, 4)
    as fx, fy, cx, cy of the rasters, how many metres a metre of the rasters is, and whether they hold ray distance."""

    poses: Array
    intrinsics: Array
    scale: float = 1.0
    ray: bool = False

    def lifted(self, frame: int, points: Array) -> tuple[Array, Array]:
        """Rays (n, 3), one metre of depth long, and planar depth (n,) of points (n, 3) of a frame: columns, rows and
        metres of its raster."""
        k = self.intrinsics[frame]
        rays = np.column_stack([(points[:, :2] - k[2:]) / k[:2], np.ones(len(points))])
        z = points[:, 2] * self.scale
        return rays, z / np.linalg.norm(rays, axis=1) if self.ray else z


@dataclass(frozen=True)
class Agreement:
    """Of some pairs: `share` (pairs,) of the landed points that agree, and the median difference `error` (pairs,) as a
    share of depth. A pair of which too little lands agrees by 0 with an error of 1; one without poses is NaN."""

    share: Array
    error: Array

    @property
    def landed(self) -> NDArray[np.bool_]:
        """(pairs,) whether enough of the points lands to tell."""
        return self.error < 1.0

    @property
    def overall(self) -> float:
        """Mean share over the pairs."""
        return float(np.nanmean(self.share)) if np.isfinite(self.share).any() else 0.0

    @property
    def typical_error(self) -> float:
        """Median error over the pairs, as a share of depth."""
        return float(np.nanmedian(self.error)) if np.isfinite(self.error).any() else 1.0

    def gain_over(self, other: Agreement) -> float:
        """By how much the logarithm of the error fell, in the mean over the pairs that both can tell of."""
        fell = np.log(np.maximum(other.error, NOISE)) - np.log(np.maximum(self.error, NOISE))
        known = np.isfinite(fell)
        return float(fell[known].mean()) if known.mean() > 0.5 else 0.0


class Lookout:
    """Depth rasters of some frames and the points that stand for them."""

    def __init__(self, views: Sequence[View], points: int = POINTS):
        self.rasters = [view.raster for view in views]
        self.units = [view.metres_per_unit for view in views]
        self.model = Model(
            np.stack([view.world_from_camera for view in views]),
            np.array([(v.camera.fx, v.camera.fy, v.camera.cx, v.camera.cy) for v in views]),
        )
        self.points = [_points(view.raster, view.metres_per_unit, points) for view in views]
        depths = np.concatenate([points[:, 2] for points in self.points])
        self.median_depth_m = float(np.median(depths)) if len(depths) else 0.0

    def agreement(self, model: Model, pairs: Sequence[Pair]) -> Agreement:
        """Of pairs (source, target) of frames by number."""
        share, error = np.full(len(pairs), np.nan), np.full(len(pairs), np.nan)
        source, target = np.array(pairs, int).reshape(-1, 2).T
        known = np.flatnonzero(~np.isnan(model.poses[source, 0, 0] + model.poses[target, 0, 0]))
        target_from_source = np.linalg.inv(model.poses[target[known]]) @ model.poses[source[known]]
        for k, moved in zip(known.tolist(), target_from_source, strict=True):
            a, b = pairs[k]
            share[k], error[k] = _agreement(
                self.points[a], model.intrinsics[a], self.rasters[b], self.units[b], model.intrinsics[b], moved,
                model.scale, model.ray,
            )  # fmt: skip
        return Agreement(share, error)


def _points(raster: NDArray, unit: float, points: int) -> Array:
    """(n, 3) columns, rows and metres of a lattice of measured depth that is no edge."""
    step = max(1, int(np.sqrt(raster.size / points)))
    lattice = raster[step // 2 :: step, step // 2 :: step]
    v, u = np.nonzero(lattice > 0)
    return np.stack([u * step + step // 2, v * step + step // 2, lattice[v, u] * unit], axis=1).astype(np.float64)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _differences(points, k_source, raster, unit, k_target, target_from_source, scale, ray):
    height, width = raster.shape
    found = np.full(points.shape[0], np.nan, np.float32)
    m = target_from_source
    for p in range(points.shape[0]):
        x = (points[p, 0] - k_source[2]) / k_source[0]
        y = (points[p, 1] - k_source[3]) / k_source[1]
        z = points[p, 2] * scale
        if ray:
            z /= np.sqrt(1.0 + x * x + y * y)
        x, y = x * z, y * z
        there = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
        if there <= 0:
            continue
        x_there = (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]) / there
        y_there = (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]) / there
        u = k_target[0] * x_there + k_target[2] + 0.5
        v = k_target[1] * y_there + k_target[3] + 0.5
        if not (0 <= u < width and 0 <= v < height):
            continue
        measured = raster[int(v), int(u)] * unit * scale
        if measured <= 0:
            continue
        if ray:
            measured /= np.sqrt(1.0 + x_there * x_there + y_there * y_there)
        found[p] = (there - measured) / measured
    return found


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _agreement(points, k_source, raster, unit, k_target, target_from_source, scale, ray):
    """Share of the landed points that agree and their median difference, or (0, 1) where too few land."""
    found = _differences(points, k_source, raster, unit, k_target, target_from_source, scale, ray)
    landed = np.abs(found[~np.isnan(found)])
    if len(landed) == 0 or len(landed) < LEAST_LANDED * len(points):
        return 0.0, 1.0
    return (landed < AGREES).mean(), min(float(np.median(landed)), 0.999)
