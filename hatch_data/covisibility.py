"""All views of a scene -> who sees the same surface, occlusion counted.

    View --summarise--> Summary (world points, depth range per block) --covisibility--> Covisibility (sparse, directed)

Only views whose points share a voxel of space are compared, so cost follows the number of pairs that do overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hatch_data.geometry import inverse
from hatch_data.views import View, limits

#: Lattice of surface points that stand for a view: the overlap is a share of up to 300 of them, so its standard
#: error is about sqrt(p (1 - p) / 300), at most 0.03.
POINT_ROWS, POINT_COLUMNS = 15, 20
#: Blocks of the raster whose least and greatest depth stand for the surface behind them.
BLOCK_ROWS, BLOCK_COLUMNS = 60, 80
_NO_DEPTH = np.int32(2**30)
#: Views that share less than this, either way, count as sharing nothing.
LEAST_OVERLAP = 0.02
#: Side of the voxels by which views find each other, metres.
VOXEL_M = 0.5
#: Neighbours kept per view and tenth of overlap: enough to choose from, and memory stays linear in views.
KEPT_PER_TENTH = 40
#: Views compared with all others at a time: bounds memory.
VIEWS_AT_ONCE = 256


@dataclass(frozen=True)
class Summary:
    """What covisibility needs of a view: `points` (n, 3) float32 in the world, and for each block of the raster the
    `least` and `greatest` measured depth in metres (0 where none)."""

    points: NDArray[np.float32]
    least: NDArray[np.float32]
    greatest: NDArray[np.float32]
    pixel_from_world: NDArray[np.float32]
    bounds: tuple[np.float32, np.float32, np.float32]


@dataclass(frozen=True)
class Covisibility:
    """Directed overlaps, ordered by source and target: of the surface seen by view `source[k]`, view `target[k]` sees
    the share `overlap[k]` too, and `hidden[k]` lies inside its image, but behind what it sees there. Each pair is there
    both ways or not at all: those that share next to nothing are left out, and, where a view has many later neighbours
    in one tenth of overlap, most of them."""

    source: NDArray[np.int32]
    target: NDArray[np.int32]
    overlap: NDArray[np.float32]
    hidden: NDArray[np.float32]
    views: int

    def matrix(self) -> sparse.csr_array:
        """(views, views) sparse overlaps."""
        return sparse.csr_array((self.overlap, (self.source, self.target)), shape=(self.views, self.views))

    def pairs(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
        """Each pair once, in order, the earlier view first: views, overlap and hidden share, the mean of both ways."""
        there = np.flatnonzero(self.source < self.target)
        back = np.flatnonzero(self.source > self.target)
        back = back[np.lexsort((self.source[back], self.target[back]))]
        half = np.float32(0.5)
        overlap = half * (self.overlap[there] + self.overlap[back])
        return self.source[there], self.target[there], overlap, half * (self.hidden[there] + self.hidden[back])

    def crowded(self) -> NDArray[np.bool_]:
        """(views,) of which views overlaps with some later ones may have been left out, there being so many."""
        first, _, overlap, _ = self.pairs()
        counts = np.bincount(10 * first.astype(np.int64) + _tenth(overlap), minlength=10 * self.views)
        return np.any(counts.reshape(-1, 10) >= KEPT_PER_TENTH, axis=1)


def summarise(view: View) -> Summary:
    """The summary of one view: made while its depth is at hand."""
    height, width = view.raster.shape
    rows = ((np.arange(POINT_ROWS) + 0.5) * height / POINT_ROWS).astype(np.int64)
    columns = ((np.arange(POINT_COLUMNS) + 0.5) * width / POINT_COLUMNS).astype(np.int64)
    v, u = np.meshgrid(rows, columns, indexing="ij")
    z = view.raster[v, u].astype(np.float64) * view.metres_per_unit
    seen = z > 0
    points = view.camera.unproject(np.stack([u[seen], v[seen]], axis=-1), z[seen])
    world = points @ view.world_from_camera[:3, :3].T + view.world_from_camera[:3, 3]
    least, greatest = _block_range(view.raster, BLOCK_ROWS, BLOCK_COLUMNS)
    blocks = view.camera.resized(BLOCK_COLUMNS, BLOCK_ROWS)
    pixel_from_world = blocks.matrix @ inverse(view.world_from_camera)[:3]
    return Summary(
        world.astype(np.float32),
        least * np.float32(view.metres_per_unit),
        greatest * np.float32(view.metres_per_unit),
        pixel_from_world.astype(np.float32),
        limits(view.tolerance),
    )


def covisibility(summaries: list[Summary], least_overlap: float = LEAST_OVERLAP) -> Covisibility:
    """Directed overlaps of all views of a scene that reach `least_overlap`."""
    n = len(summaries)
    if n == 0:
        none, nothing = np.empty(0, np.int32), np.empty(0, np.float32)
        return Covisibility(none, none, nothing, nothing, 0)
    views = _Stacked.of(summaries)
    share = _shared_voxels(views.points, views.offsets)
    kept = []
    for start in range(0, n, VIEWS_AT_ONCE):
        i, j = _candidates(share, start, views.offsets, least_overlap)
        there, back = views.shares(i, j), views.shares(j, i)
        chosen = _keep_some(i, there[0], back[0], least_overlap)
        kept.append((i[chosen], j[chosen], there[:, chosen], back[:, chosen]))
    i, j, there, back = (np.concatenate(column, axis=-1) for column in zip(*kept, strict=True))
    source, target, shares = np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([there, back], axis=1)
    order = np.lexsort((target, source))
    return Covisibility(source[order], target[order], shares[0, order], shares[1, order], n)


def within(found: Covisibility, order: NDArray, longest_gap: int | None) -> Covisibility:
    """Overlaps of views at most `longest_gap` apart in `order` (views,), their places in the scan; None: all"""
    if longest_gap is None:
        return found
    near = np.abs(order[found.source] - order[found.target]) <= longest_gap
    source, target = found.source[near], found.target[near]
    return Covisibility(source, target, found.overlap[near], found.hidden[near], found.views)


@dataclass(frozen=True)
class _Stacked:
    """Summaries side by side: `points` (3, all), those of view k from `offsets[k]` to `offsets[k + 1]`."""

    points: NDArray[np.float32]
    offsets: NDArray[np.int64]
    least: NDArray[np.float32]
    greatest: NDArray[np.float32]
    pixel_from_world: NDArray[np.float32]
    bounds: NDArray[np.float32]

    @classmethod
    def of(cls, summaries: list[Summary]) -> _Stacked:
        counts = [len(s.points) for s in summaries]
        return cls(
            np.ascontiguousarray(np.concatenate([s.points for s in summaries]).T),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.stack([s.least.ravel() for s in summaries]),
            np.stack([s.greatest.ravel() for s in summaries]),
            np.stack([s.pixel_from_world for s in summaries]),
            np.array([s.bounds for s in summaries], np.float32),
        )

    def shares(self, source: NDArray[np.int32], target: NDArray[np.int32]) -> NDArray[np.float32]:
        """(2, n) shares of the points of view source[k]: those that view target[k] sees, and those hidden from it."""
        ranges = self.least, self.greatest
        return _shares(self.points, self.offsets, *ranges, self.pixel_from_world, self.bounds, source, target)


def _shared_voxels(points: NDArray, offsets: NDArray) -> tuple[sparse.csr_array, sparse.csr_array]:
    """(views, voxels): how many points each view has in each voxel, and whether it has any."""
    n = len(offsets) - 1
    voxel = np.floor(points / VOXEL_M).astype(np.int64)
    voxel -= voxel.min(axis=1, initial=0)[:, None]
    size = voxel.max(axis=1, initial=0) + 1
    _, index = np.unique((voxel[0] * size[1] + voxel[1]) * size[2] + voxel[2], return_inverse=True)
    owner = np.repeat(np.arange(n), np.diff(offsets))
    ones = np.ones(points.shape[1], np.float32)
    counts = sparse.csr_array((ones, (owner, index)), shape=(n, int(index.max(initial=0)) + 1))
    presence = counts.copy()
    presence.data[:] = 1
    return counts, presence


def _candidates(
    share: tuple[sparse.csr_array, sparse.csr_array], start: int, offsets: NDArray, least_overlap: float
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Pairs i < j, i among `VIEWS_AT_ONCE` from `start`, that have points in the same voxels.

    A surface seen twice meets the same voxels in many points: half the share of points in shared voxels is a safe
    floor for the share of points that are seen.
    """
    counts, presence = share
    stop = start + VIEWS_AT_ONCE
    needed = np.maximum(1.0, 0.5 * least_overlap * np.diff(offsets))
    of_first = (counts[start:stop] @ presence[start:].T).toarray() >= needed[start:stop, None]
    of_second = (presence[start:stop] @ counts[start:].T).toarray() >= needed[None, start:]
    i, j = np.nonzero(np.triu(of_first | of_second, 1))
    return (i + start).astype(np.int32), (j + start).astype(np.int32)


def _tenth(overlap: NDArray) -> NDArray[np.int64]:
    """In which tenth of overlap, from 0 to 9."""
    return np.minimum((overlap * 10).astype(np.int64), 9)


def _keep_some(source: NDArray, there: NDArray, back: NDArray, least_overlap: float) -> NDArray:
    """Indices of the pairs to keep: all that reach the least overlap either way, or, where a view has more than
    `KEPT_PER_TENTH` in one tenth of mean overlap, that many of them, evenly spaced."""
    alive = np.flatnonzero(np.maximum(there, back) >= least_overlap)
    group = source[alive].astype(np.int64) * 10 + _tenth((there[alive] + back[alive]) / 2)
    order = np.argsort(group, kind="stable")
    alive, group = alive[order], group[order]
    _, starts, sizes = np.unique(group, return_index=True, return_counts=True)
    rank, size = np.arange(len(group)) - np.repeat(starts, sizes), np.repeat(sizes, sizes)
    spread = (rank * KEPT_PER_TENTH) // size != ((rank - 1) * KEPT_PER_TENTH) // size
    return np.sort(alive[(size <= KEPT_PER_TENTH) | spread])


@numba.njit(cache=True, nogil=True)
def _widen_range(line, least, greatest):
    """Take one raster line into the range of each column. Kept apart because this loop runs in SIMD."""
    for c in range(line.shape[0]):
        depth = abs(np.int32(line[c]))
        least[c] = min(least[c], depth if depth > 0 else _NO_DEPTH)
        greatest[c] = max(greatest[c], depth)


@numba.njit(cache=True, nogil=True)
def _block_range(raster, rows, columns):
    """Least and greatest depth of each of rows x columns blocks, in units; 0 where none is measured."""
    height, width = raster.shape
    least = np.zeros((rows, columns), np.float32)
    greatest = np.zeros((rows, columns), np.float32)
    low, high = np.empty(width, np.int32), np.empty(width, np.int32)
    for row in range(rows):
        low[:], high[:] = _NO_DEPTH, 0
        first = row * height // rows
        for r in range(first, max((row + 1) * height // rows, first + 1)):
            _widen_range(raster[r], low, high)
        for column in range(columns):
            start = column * width // columns
            end = max((column + 1) * width // columns, start + 1)
            nearest, farthest = low[start:end].min(), high[start:end].max()
            if farthest > 0:
                least[row, column], greatest[row, column] = nearest, farthest
    return least, greatest


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "arcp", "nsz"})
def _project(points, m, rows, columns, block, depth):
    """Project (3, n) points: the block each falls into (-1 outside) and its depth. Branch-free, so that it is SIMD."""
    half = np.float32(0.5)
    for p in range(points.shape[1]):
        x, y, z = points[0, p], points[1, p], points[2, p]
        pz = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
        scale = np.float32(1.0) / pz
        u = (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]) * scale + half
        v = (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]) * scale + half
        inside = (pz > 0) & (u >= 0) & (v >= 0) & (u < columns) & (v < rows)
        column, row = u if inside else np.float32(0), v if inside else np.float32(0)
        block[p] = np.int32(row) * np.int32(columns) + np.int32(column) if inside else np.int32(-1)
        depth[p] = pz


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _shares(points, offsets, least, greatest, pixel_from_world, bounds, source, target):
    """Shares of the points of view source[k] that view target[k] sees, and that lie behind all it sees in their block
    of its raster. `points` is (3, n)."""
    rows, columns = np.float32(BLOCK_ROWS), np.float32(BLOCK_COLUMNS)
    most = np.max(np.diff(offsets)) if source.shape[0] else 0
    block, depth = np.empty(most, np.int32), np.empty(most, np.float32)
    shares = np.zeros((2, source.shape[0]), np.float32)
    for k in range(source.shape[0]):
        j, start, end = target[k], offsets[source[k]], offsets[source[k] + 1]
        _project(points[:, start:end], pixel_from_world[j], rows, columns, block, depth)
        absolute, relative, quadratic = bounds[j, 0], bounds[j, 1], bounds[j, 2]
        near, far = least[j], greatest[j]
        seen, hidden = 0, 0
        for p in range(end - start):
            if block[p] >= 0:
                z, there = depth[p], np.uint32(block[p])
                tolerance = max(absolute, relative * z, quadratic * z * z)
                measured, behind = near[there] > 0, z > far[there] + tolerance
                seen += measured & ~behind & (near[there] - tolerance <= z)
                hidden += measured & behind
        shares[0, k], shares[1, k] = seen / max(end - start, 1), hidden / max(end - start, 1)
    return shares
