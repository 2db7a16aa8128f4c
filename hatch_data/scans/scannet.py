"""What the layouts of ScanNet (Dai et al. 2017) share: places, gravity, registration, mesh and annotations.

The published folder of a scan holds `<scan>_vh_clean_2.ply`, `<scan>.aggregation.json` (which segments make an object,
and its label) and `<scan>_vh_clean_2.0.010000.segs.json` (the segment of each vertex). They are found beside the
images, or in `scans/<scan>/` beside the images' own tree. Worlds are gravity-aligned with z up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from hatch_data.errors import ScanError
from hatch_data.geometry import Array, inverse, is_rigid
from hatch_data.scans import files
from hatch_data.scans.annotations import instances_of_points, points_by_segment
from hatch_data.scans.mesh import Mesh
from hatch_data.scans.posed import Rig, View, posed_frames
from hatch_data.scene import Instance, Scene

UP = np.array([0.0, 0.0, 1.0])
MILLIMETRE = 1e-3


def space(path: Path) -> str:
    """The place: `scene0000` of `scene0000_00`, since all scans of one number show one place."""
    name = scan_name(path)
    named = re.match(r"scene\d{4}(?=_\d\d)", name)
    return named[0] if named else name


def scan_name(path: Path) -> str:
    """The scan's name from its folder, or from its file where it is one."""
    return path.stem if path.is_file() else path.name


def numbered_views(
    color: Mapping[int, Path], depth: Mapping[int, Path], pose: Mapping[int, Path], name: Callable[[int], str]
) -> list[View]:
    """One view for each number that any part has."""
    numbers = sorted(color.keys() | depth.keys() | pose.keys())
    return [View(name(n), color.get(n), depth.get(n), pose.get(n)) for n in numbers]


def scene(path: Path, layout: str, views: list[View], rig: Rig, wanted: str) -> Scene:
    """The scan of checked frames, with its mesh and its objects where they are there."""
    mesh = _published(path, "_vh_clean_2.ply")
    frames, dropped = posed_frames(path, views, rig, wanted, mesh)
    return Scene(
        scan_name(path), layout, space(path), frames, UP, "layout", instances(path), dropped=dropped, mesh=mesh
    )


def color_from_depth(rig_from_color: Array, rig_from_depth: Array, source: str) -> Array:
    """(4, 4) from the two extrinsics, which map each camera into the rig.

    In ScanNet's calibration tool the depth extrinsic is the depth-to-colour map beside a colour extrinsic of identity.
    Both are identity in the published scans, whose depth is registered.
    """
    for matrix in (rig_from_color, rig_from_depth):
        if not is_rigid(matrix):
            raise ScanError(f"{source}: no rigid transform; restore the file or remove it where depth is registered")
    return inverse(rig_from_color) @ rig_from_depth


def instances(path: Path) -> list[Instance]:
    """The annotated objects; none where the mesh, its segments or their aggregation are missing."""
    mesh, segments, groups = (
        _published(path, ending)
        for ending in ("_vh_clean_2.ply", "_vh_clean_2.0.010000.segs.json", ".aggregation.json")
    )
    if mesh is None or segments is None or groups is None:
        return []
    try:
        segment_of_vertex = np.array(files.read_json(segments)["segIndices"], dtype=np.int64).reshape(-1)
        told = [
            (str(one["objectId"]), str(one["label"]), [int(n) for n in one["segments"]])
            for one in files.read_json(groups)["segGroups"]
        ]
    except files.MALFORMED as error:
        raise ScanError(
            f"{groups}: needs segGroups (objectId, label, segments), and {segments.name} segIndices ({error!r}); "
            "restore the files or remove them to do without objects"
        ) from error
    vertices = Mesh.load(mesh).vertices
    if len(vertices) != len(segment_of_vertex):
        raise ScanError(
            f"{segments}: {len(segment_of_vertex)} segments, but {mesh.name} has {len(vertices)} vertices; "
            "take both from one release"
        )
    points = points_by_segment(vertices, segment_of_vertex, {id_: ids for id_, _, ids in told})
    return instances_of_points({id_: label for id_, label, _ in told}, points, UP)


def _published(path: Path, ending: str) -> Path | None:
    """A file of the scan's published folder, from the images' folder or file."""
    name, folder = scan_name(path), path.parent if path.is_file() else path
    homes = (folder, folder.parent / "scans" / name, folder.parent.parent / "scans" / name)
    return next((home / f"{name}{ending}" for home in homes if (home / f"{name}{ending}").is_file()), None)
