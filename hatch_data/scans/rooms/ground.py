"""Ground that a person can walk on, seen from above: clearance and routes."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import dijkstra

from hatch_data.geometry import Array

#: Spacing of the grid on which routes are sought.
GRID_M = 0.1
#: Routes are sought at this clearance, so that between grid points and after smoothing more than 0.3 m is left.
ROUTE_CLEARANCE_M = 0.38
SMOOTH_CLEARANCE_M = 0.34


class Ground(ABC):
    """A grid of points `_points` (nx, ny, 2), `GRID_M` apart, and how far each is from what stands in the way,
    `_grid_clearance` (nx, ny), both in metres and kept by the subclass."""

    _points: Array
    _grid_clearance: Array

    @abstractmethod
    def clearance(self, points: Array) -> Array:
        """Distance in metres from points (..., 2) to the nearest obstacle."""

    def routes(self, waypoints: list[Array]) -> list[Array]:
        """Smooth paths (n, 2) from each of `waypoints` to the next, points at most about `GRID_M` apart."""
        if len(waypoints) < 2:
            return []
        points, graph = self._graph()
        ends = [int(np.argmin(np.linalg.norm(points - waypoint, axis=1))) for waypoint in waypoints]
        _, before = dijkstra(graph, directed=False, indices=ends[:-1], return_predecessors=True)
        paths = []
        for leg, goal in enumerate(ends[1:]):
            back = [goal]
            while back[-1] != ends[leg]:
                back.append(int(before[leg, back[-1]]))
            paths.append(self._smooth(np.concatenate([[waypoints[leg]], points[back[::-1]], [waypoints[leg + 1]]])))
        return paths

    def distances(self, spots: Array) -> Array:
        """(n, n) lengths of the shortest ways between spots (n, 2), in metres and more where it is narrow."""
        points, graph = self._graph()
        ends = [int(np.argmin(np.linalg.norm(points - spot, axis=1))) for spot in spots]
        return GRID_M * dijkstra(graph, directed=False, indices=ends)[:, ends]

    def _graph(self) -> tuple[Array, csr_matrix]:
        """The grid points (n, 2) where one can walk, and the price of a step between neighbours, (n, n)."""
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
        return self._points.reshape(-1, 2)[nodes], graph

    def _smooth(self, path: Array) -> Array:
        """The path drawn tight, its ends held, wherever that keeps clear of everything."""
        path = path.copy()
        for _ in range(80):
            moved = 0.5 * path[1:-1] + 0.25 * (path[:-2] + path[2:])
            clear = self.clearance(moved) >= SMOOTH_CLEARANCE_M
            path[1:-1] = np.where(clear[:, None], moved, path[1:-1])
        return path
