"""Where a person can walk in a rectangular room with furniture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from hatch_data.geometry import Array
from hatch_data.scans.rooms.ground import GRID_M, ROUTE_CLEARANCE_M, Ground


@dataclass(frozen=True)
class Footprint:
    """A rectangle on the floor: centre (2,) and half sizes (2,) in metres, turned by `yaw` radians."""

    center: Array
    half: Array
    yaw: float

    def distance(self, points: Array) -> Array:
        """Distance in metres from points (..., 2), 0 inside."""
        cosine, sine = np.cos(self.yaw), np.sin(self.yaw)
        local = (points - self.center) @ np.array([[cosine, -sine], [sine, cosine]])
        return np.linalg.norm(np.maximum(np.abs(local) - self.half, 0.0), axis=-1)

    def corners(self) -> Array:
        """The four corners, (4, 2)."""
        cosine, sine = np.cos(self.yaw), np.sin(self.yaw)
        local = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * self.half
        return local @ np.array([[cosine, sine], [-sine, cosine]]) + self.center

    def overlaps(self, other: Footprint, gap_m: float) -> bool:
        """Whether the two come closer than `gap_m`, by the separating axis theorem."""
        mine, theirs = self.corners(), other.corners()
        for yaw in (self.yaw, self.yaw + np.pi / 2, other.yaw, other.yaw + np.pi / 2):
            axis = np.array([np.cos(yaw), np.sin(yaw)])
            a, b = mine @ axis, theirs @ axis
            if a.min() > b.max() + gap_m or b.min() > a.max() + gap_m:
                return False
        return True


class FreeSpace(Ground):
    """The floor of one room, `lower` (2,) to `upper` (2,) in metres, and the furniture that stands on it."""

    def __init__(self, lower: Array, upper: Array):
        self.lower, self.upper = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
        self.obstacles: list[Footprint] = []
        axes = [np.arange(a + GRID_M / 2, b, GRID_M) for a, b in zip(self.lower, self.upper, strict=True)]
        self._points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        self._grid_clearance = self.clearance(self._points)

    def clearance(self, points: Array) -> Array:
        """Distance in metres from points (..., 2) to the nearest wall or piece of furniture; doorways count as wall."""
        nearest = np.minimum(points - self.lower, self.upper - points).min(axis=-1)
        for obstacle in self.obstacles:
            nearest = np.minimum(nearest, obstacle.distance(points))
        return nearest

    def try_add(self, obstacle: Footprint, keep: Array, free_share: float) -> bool:
        """Put furniture down unless that would part the points `keep` (n, 2) or leave less than `free_share` free."""
        clearance = np.minimum(self._grid_clearance, obstacle.distance(self._points))
        free = clearance >= ROUTE_CLEARANCE_M
        regions, _ = ndimage.label(free, np.ones((3, 3)))
        cells = np.floor((keep - self.lower) / GRID_M).astype(int)
        found = regions[tuple(np.clip(cells, 0, np.array(free.shape) - 1).T)]
        if (found == 0).any() or (found != found[0]).any() or (regions == found[0]).mean() < free_share:
            return False
        self.obstacles.append(obstacle)
        self._grid_clearance = clearance
        return True

    def spot(self, rng: np.random.Generator, taken: list[Array], keep: Array) -> Array:
        """A point (2,) with some room about it, reachable from `keep` (n, 2) and far from those `taken` before."""
        free = self._grid_clearance >= ROUTE_CLEARANCE_M
        regions, _ = ndimage.label(free, np.ones((3, 3)))
        start = np.floor((keep[0] - self.lower) / GRID_M).astype(int)
        reachable = regions == regions[tuple(start)]
        wide = reachable & (self._grid_clearance >= min(0.55, float(self._grid_clearance[reachable].max())))
        candidates = self._points[wide]
        candidates = candidates[rng.integers(len(candidates), size=12)]
        others = np.concatenate([np.reshape(taken, (-1, 2)), keep])
        far = np.linalg.norm(candidates[:, None] - others, axis=-1).min(axis=1)
        return candidates[int(np.argmax(far))]
