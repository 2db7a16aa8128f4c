"""Where a person can walk in a rectangular room with furniture: clearance and routes, seen from above."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from hatch_data.geometry import Array

#: Spacing of the grid on which routes are sought.
GRID_M = 0.1
#: Routes are sought at this clearance, so that between grid points and after smoothing more than 0.3 m is left.
ROUTE_CLEARANCE_M = 0.38
SMOOTH_CLEARANCE_M = 0.34


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


class FreeSpace:
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

    def routes(self, waypoints: list[Array]) -> list[Array]:
        """Smooth paths (n, 2) from each of `waypoints` to the next, points at most about `GRID_M` apart."""
        free = self._grid_clearance >= ROUTE_CLEARANCE_M
        nodes = np.flatnonzero(free)
        number = np.full(free.shape, -1)
        number[free] = np.arange(len(nodes))
        # Clear ground is cheaper: people keep off furniture where they can.
        price = 1.0 + 0.4 / np.where(free, self._grid_clearance, 1.0)
        rows, columns, weights = [], [], []
        for di, dj in ((1, 0), (0, 1), (1, 1), (1, -1)):
            here = (slice(0, free.shape[0] - di), slice(max(0, -dj), free.shape[1] - max(0, dj)))
            there = (slice(di, free.shape[0]), slice(max(0, dj), free.shape[1] - max(0, -dj)))
            both = free[here] & free[there]
            rows.append(number[here][both])
            columns.append(number[there][both])
            weights.append(np.hypot(di, dj) * (price[here] + price[there])[both])
        graph = coo_matrix(
            (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), (len(nodes), len(nodes))
        ).tocsr()
        if len(waypoints) < 2:
            return []
        points = self._points.reshape(-1, 2)[nodes]
        ends = [int(np.argmin(np.linalg.norm(points - waypoint, axis=1))) for waypoint in waypoints]
        _, before = dijkstra(graph, directed=False, indices=ends[:-1], return_predecessors=True)
        paths = []
        for leg, goal in enumerate(ends[1:]):
            back = [goal]
            while back[-1] != ends[leg]:
                back.append(int(before[leg, back[-1]]))
            paths.append(self._smooth(np.concatenate([[waypoints[leg]], points[back[::-1]], [waypoints[leg + 1]]])))
        return paths

    def _smooth(self, path: Array) -> Array:
        """The path drawn tight, its ends held, wherever that keeps clear of everything."""
        path = path.copy()
        for _ in range(80):
            moved = 0.5 * path[1:-1] + 0.25 * (path[:-2] + path[2:])
            clear = self.clearance(moved) >= SMOOTH_CLEARANCE_M
            path[1:-1] = np.where(clear[:, None], moved, path[1:-1])
        return path
