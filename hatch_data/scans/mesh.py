"""The mesh of a scan, and rays against it: what gives depth to frames that have none.

Rays are cast by Embree (the `embreex` wheel). A ray's direction is as long as one metre of planar depth, so the
distance along it *is* the depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from hatch_data.errors import ScanError
from hatch_data.geometry import Array, Camera, transform
from hatch_data.scans import files
from hatch_data.scene import within_reach

SUFFIXES = (".glb", ".gltf", ".obj", ".off", ".ply", ".stl")


class Hits(NamedTuple):
    """First hits of n rays.

    `distance` (n,) float32 in lengths of the ray's direction, inf on a miss; `triangle` (n,) int32, -1 on a miss;
    `weights` (n, 3) float32, barycentric, of the triangle's corners in order.
    """

    distance: NDArray[np.float32]
    triangle: NDArray[np.int32]
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class Mesh:
    """Triangles: `vertices` (v, 3) float64 metres in the world of the poses, `triangles` (t, 3) int32 into them."""

    vertices: Array
    triangles: NDArray[np.int32]

    @classmethod
    def load(cls, path: Path) -> Mesh:
        """The triangles of a mesh file, all its parts in one frame. Raises `ScanError` where it holds none."""
        return cls.of(read_parts(path), path)

    @classmethod
    def of(cls, parts: list[Part], path: Path) -> Mesh:
        """Several parts as one mesh; `path` is what to name in an error."""
        if not parts:
            raise ScanError(f"{path}: holds no triangles (a point cloud?); give the scan's mesh")
        vertices = np.concatenate([part.vertices for part in parts])
        if not within_reach(vertices):
            raise ScanError(f"{path}: vertices that are nowhere; export the mesh again")
        first = np.cumsum([0, *(len(part.vertices) for part in parts)])
        triangles = np.concatenate([part.triangles + start for part, start in zip(parts, first, strict=False)])
        return cls(vertices, triangles.astype(np.int32))

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """Lower and upper corner (3,) of all triangles."""
        corners = self.vertices[self.triangles.ravel()]
        return corners.min(axis=0), corners.max(axis=0)

    @cached_property
    def normals(self) -> Array:
        """(t, 3) unit normals by the order of the corners; of a triangle without area, any unit vector."""
        a, b, c = (self.vertices[self.triangles[:, k]] for k in range(3))
        normals = np.cross(b - a, c - a)
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        return np.where(length > 0, normals / np.where(length > 0, length, 1.0), (0.0, 0.0, 1.0))

    def cast(self, origin: NDArray, directions: NDArray) -> Hits:
        """What rays from `origin`, (3,) or (n, 3), along `directions` (n, 3) meet first."""
        starts, ways = self._rays(origin, directions)
        hits = self._embree.run(starts, ways, output=True)
        hit = hits["geomID"] >= 0
        u, v = hits["u"], hits["v"]
        return Hits(
            np.where(hit, hits["tfar"], np.float32(np.inf)),
            np.where(hit, hits["primID"], -1).astype(np.int32),
            np.stack([1 - u - v, u, v], axis=1),
        )

    def blocked(self, origin: NDArray, directions: NDArray, up_to: float = 1.0) -> NDArray[np.bool_]:
        """Whether rays from `origin` (n, 3) along `directions` (n or 1, 3) meet anything within `up_to` lengths."""
        starts, ways = self._rays(origin, directions)
        return np.asarray(self._embree.run(starts, ways, dists=up_to, query="OCCLUDED")) >= 0

    def depth(self, camera: Camera, world_from_camera: Array) -> NDArray[np.float32]:
        """Planar depth through pixel centres: (height, width) float32 metres, 0 where a ray meets nothing."""
        starts, ways = self._rays(world_from_camera[:3, 3], pixel_rays(camera, world_from_camera))
        far = self._embree.run(starts, ways, query="DISTANCE").reshape(camera.height, camera.width)
        return np.where(far < _NOTHING, far, np.float32(0))

    def _rays(self, origin: NDArray, directions: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        starts = np.broadcast_to(origin - self._middle, np.broadcast_shapes(np.shape(origin), directions.shape))
        return np.ascontiguousarray(starts, np.float32), np.ascontiguousarray(directions, np.float32)

    @cached_property
    def _middle(self) -> Array:
        """Embree counts in float32: about its own middle a mesh loses nothing to a distant origin of the world."""
        lower, upper = self.bounds
        return (lower + upper) / 2

    @cached_property
    def _embree(self) -> Any:
        # Robust: no ray slips through between two triangles.
        scene = EmbreeScene(robust=True)
        TriangleMesh(scene, (self.vertices - self._middle).astype(np.float32), self.triangles)
        return scene


#: Embree leaves a ray that meets nothing at 1e37.
_NOTHING = np.float32(1e30)


def pixel_rays(camera: Camera, world_from_camera: Array) -> Array:
    """World directions (height * width, 3) through pixel centres, as long as one metre of planar depth.

    Without BLAS, whose order of summation (and so the last bit) depends on threads and shape.
    """
    rotation = world_from_camera[:3, :3]
    x = (np.arange(camera.width) - camera.cx) / camera.fx
    y = (np.arange(camera.height) - camera.cy) / camera.fy
    rays = x[None, :, None] * rotation[:, 0] + (y[:, None, None] * rotation[:, 1] + rotation[:, 2])
    return rays.reshape(-1, 3)


#: What trimesh's readers raise at broken files: whatever their parsers run into.
_PARSER_ERRORS = (*files.UNDECODABLE, AssertionError, NameError)


class Part(NamedTuple):
    """One part of a mesh file: `vertices` (v, 3) in the file's world, `triangles` (t, 3), and trimesh's `visual`."""

    name: str
    vertices: Array
    triangles: NDArray[np.int64]
    visual: Any


def read_parts(path: Path) -> list[Part]:
    """The parts of a mesh file in its one world. Raises `ScanError` where it cannot be read."""
    import trimesh  # 20 MB, which builds of most layouts do without.

    try:
        scene = trimesh.load_scene(path, process=False)
        parts = []
        for node in scene.graph.nodes_geometry:
            world_from_part, name = scene.graph[node]
            part = scene.geometry[name]
            if isinstance(part, trimesh.Trimesh) and len(part.faces):
                vertices = transform(world_from_part, np.asarray(part.vertices, np.float64))
                faces = np.asarray(part.faces)
                if not within_reach(vertices) or not 0 <= faces.min() <= faces.max() < len(vertices):
                    raise ValueError("it has vertices that are nowhere, or triangles without vertices")
                parts.append(Part(node, vertices, faces, part.visual))
    except _PARSER_ERRORS as error:
        raise ScanError(f"{path}: no readable mesh ({' '.join(str(error).split())}); copy it again") from error
    return parts


@lru_cache(maxsize=2)
def shared(path: Path) -> Mesh:
    """`Mesh.load`, kept for the frames of a scan, which all look at one mesh."""
    return Mesh.load(path)
