"""From what annotators mark to `Instance`: boxes around labelled points, and boxes as data sets write them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from hatch_data.errors import ScanError
from hatch_data.geometry import Array, horizontal_axes, nearest_rigid, unit
from hatch_data.scans import files
from hatch_data.scene import Instance, within_reach


def instances_of_points(labels: Mapping[str, str], groups: Mapping[str, Array], up: Array) -> list[Instance]:
    """Objects by id: their `labels`, and `groups` of points (n, 3) of the world, boxed upright.

    An object without a point lies nowhere and is left out.
    """
    found = []
    for id_, label in labels.items():
        points = groups.get(id_)
        if points is not None and len(points):
            found.append(Instance(id_, label, *upright_box(points, up)))
    return found


def upright_box(points: Array, up: Array) -> tuple[Array, Array]:
    """The smallest box with a vertical axis around points (n, 3): `world_from_box` (4, 4) and full size (3,).

    Of all such boxes the one of least area from above shares a side with the convex hull (Freeman and Shapira 1975).
    The box's z axis is `up`, its x axis the longer horizontal one.
    """
    e1, e2 = horizontal_axes(up)
    level = np.stack([e1, e2, unit(up)])  # level_from_world
    flat = points @ level[:2].T
    try:
        hull = flat[ConvexHull(flat).vertices]
    except (QhullError, ValueError):  # all in one line or one place, or too few
        spread = flat - flat.mean(axis=0)
        along = np.linalg.svd(spread, full_matrices=False)[2][0] if spread.any() else np.array([1.0, 0.0])
        hull = np.stack([flat.mean(axis=0), flat.mean(axis=0) + along])
    sides = np.roll(hull, -1, axis=0) - hull
    angles = np.arctan2(sides[:, 1], sides[:, 0])
    turned = np.stack([np.cos(angles), np.sin(angles), -np.sin(angles), np.cos(angles)], axis=-1).reshape(-1, 2, 2)
    extents = np.ptp(turned @ hull.T, axis=2)
    x, y = turned[int(np.argmin(extents.prod(axis=1)))]
    if np.ptp(flat @ x) < np.ptp(flat @ y):
        x, y = y, -x
    axes = np.stack([x @ level[:2], y @ level[:2], level[2]])
    along_axes = points @ axes.T
    lower, upper = along_axes.min(axis=0), along_axes.max(axis=0)
    return box_pose(axes, (lower + upper) / 2 @ axes), upper - lower


def box_pose(axes: Array, centre: Array) -> Array:
    """`world_from_box` of unit axes, one a row (3, 3), which may be left-handed, and a centre (3,)."""
    world_from_box = np.eye(4)
    world_from_box[:3, :3] = axes.T
    if np.linalg.det(world_from_box[:3, :3]) < 0:
        world_from_box[:3, 2] *= -1
    world_from_box[:3, 3] = centre
    return nearest_rigid(world_from_box)


def points_by_segment(points: Array, segments: NDArray, wanted: Mapping[str, list[int]]) -> dict[str, Array]:
    """Points (n, 3) of each group, given the segment (n,) of each point and the segments that a group `wanted` has."""
    order = np.argsort(segments, kind="stable")
    ordered = segments[order]
    groups = {}
    for id_, ids in wanted.items():
        first, last = np.searchsorted(ordered, ids, "left"), np.searchsorted(ordered, ids, "right")
        chosen = [order[a:b] for a, b in zip(first, last, strict=True)]
        groups[id_] = points[np.concatenate(chosen)] if chosen else points[:0]
    return groups


def ply_vertices(ply: Path, attribute: str) -> tuple[Array, NDArray]:
    """Vertices (n, 3) of a PLY file and the integer (n,) that it gives each. Raises `ScanError` where it has none."""
    import trimesh  # 20 MB, which builds of most layouts do without.

    try:
        mesh = trimesh.load(ply, process=False)
        values = mesh.metadata["_ply_raw"]["vertex"]["data"][attribute]
    except (*files.UNREADABLE, *files.MALFORMED, MemoryError, NameError) as error:  # NameError: a fault of trimesh
        raise ScanError(f"{ply}: no mesh whose vertices have '{attribute}' ({error!r}); copy it again") from error
    vertices, found = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(values).reshape(-1)
    if not within_reach(vertices) or len(vertices) != len(found):
        raise ScanError(f"{ply}: vertices that are nowhere, or not one '{attribute}' each; copy it again")
    return vertices, found


def stated_box(told: Mapping, source: Path) -> tuple[Array, Array]:
    """A box as `{"centroid", "axesLengths", "normalizedAxes"}`: full lengths, and the three axes one after the other.

    So 3RScan and ScanNet++ write it. Raises `ScanError` where it is none.
    """
    try:
        axes = np.array(told["normalizedAxes"], dtype=np.float64).reshape(3, 3)
        centre = np.array(told["centroid"], dtype=np.float64).reshape(3)
        size = np.array(told["axesLengths"], dtype=np.float64).reshape(3)
    except files.MALFORMED as error:
        raise ScanError(
            f"{source}: a box needs centroid, axesLengths and normalizedAxes ({error}); restore the file"
        ) from error
    if not within_reach(np.array([centre, size])) or not np.abs(axes @ axes.T - np.eye(3)).max() <= 1e-2:
        raise ScanError(f"{source}: axes of a box are not at right angles, or the box is nowhere; restore the file")
    return box_pose(axes, centre), size
