"""Exact ray casting of boxes that may be turned about z: what the synthetic rooms are rendered and judged with.

Slab tests in double precision below a bounding volume hierarchy, so that the cost of a ray grows with the logarithm
of the number of boxes. Single-threaded and free of fast-math: the same rays give the same bits in every process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hatch_data.geometry import Array

Index = NDArray[np.int64]

#: A node with this many boxes or fewer is not split further.
LEAF_BOXES = 2


class Hits(NamedTuple):
    """First hits of n rays. A miss has distance inf, box -1 and face -1.

    `distance` (n,) counts in lengths of the ray's direction; `face` is `2 * axis + (1 if on the positive side)` in
    the box's own axes.
    """

    distance: Array
    box: Index
    face: Index


@dataclass(frozen=True)
class Boxes:
    """n boxes: centres (n, 3) and half sizes (n, 3) in metres, `turn` (n, 2) = cosine and sine of the turn about z."""

    center: Array
    half: Array
    turn: Array

    def world_from_local(self, box: Index) -> Array:
        """(..., 3, 3) rotations of the boxes named by `box` (...)."""
        cosine, sine = self.turn[box, 0], self.turn[box, 1]
        rotation = np.zeros((*np.shape(box), 3, 3))
        rotation[..., 0, 0], rotation[..., 0, 1] = cosine, -sine
        rotation[..., 1, 0], rotation[..., 1, 1] = sine, cosine
        rotation[..., 2, 2] = 1.0
        return rotation

    def normals(self, hits_box: Index, hits_face: Index) -> Array:
        """Outward unit normals (..., 3) of faces, in the world; NaN where the box is -1."""
        local = np.zeros((*np.shape(hits_box), 3))
        np.put_along_axis(local, hits_face[..., None] // 2, (hits_face[..., None] % 2) * 2.0 - 1.0, axis=-1)
        normals = np.einsum("...ij,...j->...i", self.world_from_local(hits_box), local)
        return np.where(hits_box[..., None] < 0, np.nan, normals)

    def bounds(self) -> tuple[Array, Array]:
        """Axis-aligned lower and upper corners, each (n, 3)."""
        cosine, sine = np.abs(self.turn[:, 0]), np.abs(self.turn[:, 1])
        reach = self.half.copy()
        reach[:, 0] = cosine * self.half[:, 0] + sine * self.half[:, 1]
        reach[:, 1] = sine * self.half[:, 0] + cosine * self.half[:, 1]
        return self.center - reach, self.center + reach


class BoxTree:
    """A bounding volume hierarchy over `Boxes`, split by the surface area heuristic (MacDonald and Booth 1990)."""

    def __init__(self, boxes: Boxes):
        self.boxes = boxes
        box_lower, box_upper = boxes.bounds()
        lower: list[Array] = []
        upper: list[Array] = []
        first: list[int] = []
        count: list[int] = []
        order: list[int] = []
        waiting = [(np.arange(len(box_lower)), -1, 0)]
        self._depth = 0
        while waiting:
            members, parent, depth = waiting.pop()
            self._depth = max(self._depth, depth)
            node = len(first)
            # A node's first child follows it at once; `first` of an inner node is its second child.
            if parent >= 0:
                first[parent] = node
            lower.append(box_lower[members].min(axis=0))
            upper.append(box_upper[members].max(axis=0))
            if len(members) <= LEAF_BOXES:
                first.append(len(order))
                count.append(len(members))
                order.extend(members.tolist())
                continue
            near, far = _split(members, box_lower, box_upper)
            first.append(-1)
            count.append(0)
            waiting += [(far, node, depth + 1), (near, -1, depth + 1)]
        self._nodes = (np.array(lower), np.array(upper), np.array(first), np.array(count), np.array(order))

    def cast(self, origin: Array, directions: Array) -> Hits:
        """First hits of rays from `origin` (3,) along `directions` (n, 3); faces seen from inside a box are not hit."""
        return Hits(*self._cast(origin, directions, np.inf, False))

    def blocked(self, origin: Array, directions: Array, reach: float) -> NDArray[np.bool_]:
        """Whether anything lies on rays from `origin` (3,) before `reach` lengths of `directions` (n, 3)."""
        return self._cast(origin, directions, reach, True)[1] >= 0

    def _cast(self, origin: Array, directions: Array, reach: float, any_hit: bool) -> tuple[Array, Index, Index]:
        directions = np.ascontiguousarray(directions, dtype=np.float64)
        origin = np.ascontiguousarray(origin, dtype=np.float64)
        boxes = self.boxes
        return _cast(
            origin, directions, reach, any_hit, self._depth, *self._nodes, boxes.center, boxes.half, boxes.turn
        )


def _split(members: Index, lower: Array, upper: Array) -> tuple[Index, Index]:
    """Two halves of `members` with the least sum of surface area times boxes, over all axes and positions."""
    best_cost, best = np.inf, (members[:1], members[1:])
    left_count = np.arange(1, len(members))
    for axis in range(3):
        middle = lower[members, axis] + upper[members, axis]
        ordered = members[np.argsort(middle, kind="stable")]
        left = _area(np.minimum.accumulate(lower[ordered], axis=0), np.maximum.accumulate(upper[ordered], axis=0))
        backwards = ordered[::-1]
        right = _area(np.minimum.accumulate(lower[backwards], axis=0), np.maximum.accumulate(upper[backwards], axis=0))[
            ::-1
        ]
        cost = left[:-1] * left_count + right[1:] * left_count[::-1]
        at = int(np.argmin(cost))
        if cost[at] < best_cost:
            best_cost, best = cost[at], (ordered[: at + 1], ordered[at + 1 :])
    return best


def _area(lower: Array, upper: Array) -> Array:
    x, y, z = (upper - lower).T
    return x * y + y * z + z * x


@njit(cache=True, error_model="numpy")
def _steep(d):
    """The direction component, kept off zero: 0 * inf would be NaN for an origin in the plane of a slab."""
    if abs(d) > 1e-30:
        return d
    return 1e-30


@njit(cache=True, error_model="numpy")
def _enter_bounds(ox, oy, oz, ix, iy, iz, lower, upper, node, far):
    """Distance at which a ray (origin, inverse direction) enters a node, or inf where it misses it before `far`."""
    a, b = (lower[node, 0] - ox) * ix, (upper[node, 0] - ox) * ix
    near, far = max(0.0, min(a, b)), min(far, max(a, b))
    a, b = (lower[node, 1] - oy) * iy, (upper[node, 1] - oy) * iy
    near, far = max(near, min(a, b)), min(far, max(a, b))
    a, b = (lower[node, 2] - oz) * iz, (upper[node, 2] - oz) * iz
    near, far = max(near, min(a, b)), min(far, max(a, b))
    return near if near <= far else np.inf


@njit(cache=True, error_model="numpy")
def _enter_box(ox, oy, oz, dx, dy, dz, center, half, turn, box):
    """Distance and face at which a ray enters a box from outside, or (inf, -1)."""
    px, py, pz = ox - center[box, 0], oy - center[box, 1], oz - center[box, 2]
    cosine, sine = turn[box, 0], turn[box, 1]
    px, py = cosine * px + sine * py, cosine * py - sine * px
    ex, ey, ez = _steep(cosine * dx + sine * dy), _steep(cosine * dy - sine * dx), _steep(dz)
    face = 0 if ex > 0.0 else 1
    reach = half[box, 0] / abs(ex)
    middle = -px / ex
    near, far = middle - reach, middle + reach
    reach = half[box, 1] / abs(ey)
    middle = -py / ey
    if middle - reach > near:
        near, face = middle - reach, (2 if ey > 0.0 else 3)
    far = min(far, middle + reach)
    reach = half[box, 2] / abs(ez)
    middle = -pz / ez
    if middle - reach > near:
        near, face = middle - reach, (4 if ez > 0.0 else 5)
    far = min(far, middle + reach)
    if near > far or near <= 0.0:
        return np.inf, -1
    return near, face


@njit(cache=True, error_model="numpy")
def _cast(origin, directions, reach, any_hit, depth, lower, upper, first, count, order, center, half, turn):
    rays = len(directions)
    distances = np.empty(rays)
    hit_box = np.empty(rays, np.int64)
    hit_face = np.empty(rays, np.int64)
    # At each level one child waits on the stack while the other is searched.
    stack = np.empty(depth + 2, np.int64)
    entries = np.empty(depth + 2)
    ox, oy, oz = origin[0], origin[1], origin[2]
    for ray in range(rays):
        dx, dy, dz = directions[ray, 0], directions[ray, 1], directions[ray, 2]
        ix, iy, iz = 1.0 / _steep(dx), 1.0 / _steep(dy), 1.0 / _steep(dz)
        best, best_box, best_face = reach, -1, -1
        stack[0], entries[0], top = 0, 0.0, 1
        while top > 0:
            top -= 1
            node = stack[top]
            if entries[top] > best:
                continue
            if count[node] > 0:
                for k in range(first[node], first[node] + count[node]):
                    distance, face = _enter_box(ox, oy, oz, dx, dy, dz, center, half, turn, order[k])
                    if distance < best:
                        best, best_box, best_face = distance, order[k], face
                if any_hit and best_box >= 0:
                    break
                continue
            a, b = node + 1, first[node]
            enter_a = _enter_bounds(ox, oy, oz, ix, iy, iz, lower, upper, a, best)
            enter_b = _enter_bounds(ox, oy, oz, ix, iy, iz, lower, upper, b, best)
            if enter_a < enter_b:
                a, b, enter_a, enter_b = b, a, enter_b, enter_a
            if enter_a < np.inf:
                stack[top], entries[top] = a, enter_a
                top += 1
            if enter_b < np.inf:
                stack[top], entries[top] = b, enter_b
                top += 1
        distances[ray] = best if best_box >= 0 else np.inf
        hit_box[ray], hit_face[ray] = best_box, best_face
    return distances, hit_box, hit_face
