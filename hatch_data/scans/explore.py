"""A person's way through a mesh: where the floor is, where one can walk on it, and what one looks at.

    Mesh -> voxels -> floors -> walkable, enclosed ground -> stops -> routes -> poses

Everything happens in a level frame: the world turned so that z is up.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hatch_data.geometry import Array, Camera, transform, unit
from hatch_data.scans.mesh import Mesh
from hatch_data.scans.rooms.ground import GRID_M, ROUTE_CLEARANCE_M, Ground
from hatch_data.scans.rooms.walk import Leg, camera_path

#: Voxels are this high, and as wide as the grid of the routes.
VOXEL_HEIGHT_M = 0.05
#: A surface belongs to a floor up to this far above or below it; a walker steps over what is no higher.
FLOOR_M = 0.15
#: What stands between `FLOOR_M` and this above the floor is in the walker's way.
HEAD_M = 1.8
#: Height from which the walker looks around.
EYE_M = 1.55
#: Storeys lie at least this far apart; one counts if its ground is at least this share of the largest one's.
STOREY_M, STOREY_SHARE = 2.0, 0.25
#: Ground is indoors where at least this share of level sight lines ends at something.
SIGHT_LINES, ENCLOSED_SHARE = 24, 0.75
#: Ground smaller than this is left out.
LEAST_GROUND_M2 = 1.5
#: Stops are this far apart, further where the walk would need more frames than `MOST_FRAMES`.
STOP_SPACING_M = 1.3
MOST_FRAMES = 1500
#: At each stop the walker turns by up to this much.
LOOK_DEG = 150.0
#: A view is left out where more than this share of it lies nearer than this: it would show a piece of wall.
NEAR_M, NEAR_SHARE = 0.6, 0.3
_GLANCE = Camera(32, 24, 23.0, 23.0, 15.5, 11.5)


class Floor(Ground):
    """The ground (nx, ny) of one level of a mesh, from `lower` (2,) on, at `height` metres in the level frame."""

    def __init__(self, walkable: NDArray[np.bool_], lower: Array, height: float):
        self.height = height
        self._lower = lower
        rows, columns = np.indices(walkable.shape)
        self._points = lower + (np.stack([rows, columns], axis=-1) + 0.5) * GRID_M
        # Half a cell less: what is in the way may reach to the near side of its cell.
        distance = ndimage.distance_transform_edt(np.pad(walkable, 1))[1:-1, 1:-1]
        self._grid_clearance = np.maximum(distance - 0.5, 0.0) * GRID_M

    def clearance(self, points: Array) -> Array:
        """Distance in metres from points (..., 2) to the nearest obstacle, linear between grid points."""
        cells = np.moveaxis((points - self._lower) / GRID_M - 0.5, -1, 0)
        return ndimage.map_coordinates(self._grid_clearance, cells, order=1, mode="constant")

    def regions(self) -> list[Floor]:
        """The connected parts that a walker fits through, largest first."""
        free = self._grid_clearance >= ROUTE_CLEARANCE_M
        labels, count = ndimage.label(free, np.ones((3, 3)))
        sizes = ndimage.sum_labels(free, labels, range(1, count + 1))
        parts = []
        for number in np.argsort(-sizes, kind="stable") + 1:
            if sizes[number - 1] * GRID_M**2 >= LEAST_GROUND_M2:
                part = Floor(np.zeros_like(free), self._lower, self.height)
                part._grid_clearance = np.where(labels == number, self._grid_clearance, 0.0)
                parts.append(part)
        return parts

    def stops(self, spacing_m: float) -> Array:
        """Places (n, 2) such that nowhere is further than `spacing_m` from one, in the order of a walk."""
        points = self._points[self._grid_clearance >= ROUTE_CLEARANCE_M]
        roomy = self._grid_clearance[self._grid_clearance >= ROUTE_CLEARANCE_M]
        chosen = [int(np.argmax(roomy))]
        away = np.linalg.norm(points - points[chosen[0]], axis=1)
        while away.max() > spacing_m:
            # Among the places that are far enough, the one with most room about it.
            far = np.flatnonzero(away > spacing_m)
            chosen.append(int(far[np.argmax(roomy[far])]))
            away = np.minimum(away, np.linalg.norm(points - points[chosen[-1]], axis=1))
        spots = points[chosen]
        distances = self.distances(spots)
        order, left = [0], set(range(1, len(spots)))
        while left:
            order.append(min(left, key=lambda k: (distances[order[-1], k], k)))
            left.remove(order[-1])
        return spots[order]


def explore(mesh: Mesh, up: Array, rng: np.random.Generator) -> list[Array]:
    """`world_from_camera` (4, 4) of a walk at eye height through all free ground; empty where there is none."""
    level_from_world = level_frame(up)
    floors = [part for floor in find_floors(mesh, level_from_world) for part in floor.regions()]
    spacing = STOP_SPACING_M
    while True:
        state = rng.bit_generator.state
        poses = [pose for floor in floors for pose in _walk(mesh, level_from_world, floor, spacing, rng)]
        if len(poses) <= MOST_FRAMES:
            return poses
        rng.bit_generator.state = state
        spacing *= max(1.1, np.sqrt(len(poses) / MOST_FRAMES))


def level_frame(up: Array) -> Array:
    """`level_from_world` (4, 4): a rotation that takes `up` to z, and nothing where z is up already."""
    up = unit(up)
    across = np.array([1.0, 0.0, 0.0]) if abs(up[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    x = unit(across - (across @ up) * up)
    level_from_world = np.eye(4)
    level_from_world[:3, :3] = x, np.cross(up, x), up
    return level_from_world


def find_floors(mesh: Mesh, level_from_world: Array) -> list[Floor]:
    """The storeys of a mesh, the one with most ground first.

    Candidates are the heights at which much horizontal surface lies. Ground is walkable where there is floor and
    nothing up to `HEAD_M` above it, and counts where it is enclosed: a roof or a garden is no room.
    """
    vertices = transform(level_from_world, mesh.vertices)
    lower = np.floor(vertices.min(axis=0) / GRID_M - 1) * GRID_M
    voxel = np.array([GRID_M, GRID_M, VOXEL_HEIGHT_M])
    shape = tuple(np.ceil((vertices.max(axis=0) - lower) / voxel).astype(int) + 1)
    occupied, flat_area = _voxelise(vertices, mesh.triangles, lower, voxel, shape)
    candidates = []
    for layer in _peaks(flat_area):
        height = lower[2] + (layer + 0.5) * VOXEL_HEIGHT_M
        reach = round(FLOOR_M / VOXEL_HEIGHT_M)
        has_floor = occupied[:, :, max(0, layer - reach) : layer + reach + 1].any(axis=2)
        has_floor = ndimage.binary_closing(has_floor, np.ones((3, 3)))  # a scan has small holes
        in_the_way = occupied[:, :, layer + reach + 1 : layer + round(HEAD_M / VOXEL_HEIGHT_M)].any(axis=2)
        walkable = has_floor & ~in_the_way
        walkable &= _enclosed(mesh, level_from_world, walkable, lower[:2], height + EYE_M)
        candidates.append((walkable.sum() * GRID_M**2, height, walkable))
    candidates.sort(key=lambda candidate: (-candidate[0], candidate[1]))
    floors: list[Floor] = []
    for area, height, walkable in candidates:
        apart = all(abs(height - floor.height) >= STOREY_M for floor in floors)
        if apart and area >= max(STOREY_SHARE * candidates[0][0], LEAST_GROUND_M2):
            floors.append(Floor(walkable, lower[:2], float(height)))
    return floors


def _peaks(flat_area: Array) -> list[int]:
    """Layers with more horizontal surface than those around, and a fair share of the most."""
    around = ndimage.maximum_filter1d(flat_area, 7, mode="constant")
    return np.flatnonzero((flat_area == around) & (flat_area > 0.1 * flat_area.max())).tolist()


def _enclosed(
    mesh: Mesh, level_from_world: Array, walkable: NDArray[np.bool_], lower: Array, eye: float
) -> NDArray[np.bool_]:
    """Where level sight lines from `eye` mostly end at something, (nx, ny)."""
    cells = np.argwhere(walkable)
    if not len(cells):
        return walkable
    eyes = np.column_stack([lower + (cells + 0.5) * GRID_M, np.full(len(cells), eye)])
    ended = np.isfinite(_sight_lines(mesh, level_from_world, eyes)).mean(axis=1) >= ENCLOSED_SHARE
    inside = np.zeros_like(walkable)
    inside[tuple(cells[ended].T)] = True
    return inside


def _sight_lines(mesh: Mesh, level_from_world: Array, eyes: Array) -> Array:
    """(n, SIGHT_LINES) distances seen from eyes (n, 3) of the level frame, all around; inf where nothing is met."""
    world_from_level = level_from_world[:3, :3].T
    angles = 2 * np.pi * np.arange(SIGHT_LINES) / SIGHT_LINES
    ways = np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=1) @ world_from_level.T
    starts = np.repeat(eyes @ world_from_level.T, SIGHT_LINES, axis=0)
    hits = mesh.cast(starts, np.tile(ways, (len(eyes), 1)))
    return hits.distance.astype(np.float64).reshape(-1, SIGHT_LINES)


def _walk(mesh: Mesh, level_from_world: Array, floor: Floor, spacing_m: float, rng: np.random.Generator) -> list[Array]:
    """Poses in the world of one connected piece of ground."""
    stops = floor.stops(spacing_m)
    eyes = np.column_stack([stops, np.full(len(stops), floor.height + EYE_M)])
    sights = np.minimum(_sight_lines(mesh, level_from_world, eyes), 6.0)
    angles = 2 * np.pi * np.arange(SIGHT_LINES) / SIGHT_LINES
    sway = sights[..., None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    targets = stops + sway.mean(axis=1)  # towards where there is most to see
    paths = floor.routes(list(stops)) or [np.stack([stops[0], stops[0] + (0.05, 0.0)])]
    legs: list[Leg] = list(zip(paths, targets[-len(paths) :], strict=True))
    world_from_level = level_from_world.T
    poses = []
    for level_from_camera in camera_path(rng, legs, LOOK_DEG):
        level_from_camera[2, 3] += floor.height
        poses.append(world_from_level @ level_from_camera)
    return [pose for pose in poses if _shows_something(mesh, pose)]


def _shows_something(mesh: Mesh, world_from_camera: Array) -> bool:
    """Whether not too much of the view lies too near."""
    return float((mesh.depth(_GLANCE, world_from_camera) < NEAR_M).mean()) <= NEAR_SHARE


@numba.njit(cache=True, nogil=True)
def _voxelise(vertices, triangles, lower, voxel, shape):
    """Which voxels (nx, ny, nz) triangles pass through, sampled twice a voxel, and the flat area of each layer."""
    occupied = np.zeros(shape, np.bool_)
    flat_area = np.zeros(shape[2])
    step = min(voxel[0], voxel[2]) / 2
    for t in range(triangles.shape[0]):
        a, b, c = vertices[triangles[t, 0]], vertices[triangles[t, 1]], vertices[triangles[t, 2]]
        ab, ac = b - a, c - a
        normal = np.cross(ab, ac)
        doubled = np.sqrt((normal * normal).sum())
        horizontal = abs(normal[2]) > 0.95 * doubled
        longest = np.sqrt(max((ab * ab).sum(), (ac * ac).sum(), ((c - b) * (c - b)).sum()))
        n = int(longest / step) + 1
        share = doubled / ((n + 1) * (n + 2))
        for i in range(n + 1):
            for j in range(n + 1 - i):
                x = int((a[0] + i / n * ab[0] + j / n * ac[0] - lower[0]) / voxel[0])
                y = int((a[1] + i / n * ab[1] + j / n * ac[1] - lower[1]) / voxel[1])
                z = int((a[2] + i / n * ab[2] + j / n * ac[2] - lower[2]) / voxel[2])
                occupied[x, y, z] = True
                if horizontal:
                    flat_area[z] += share
    return occupied, flat_area
