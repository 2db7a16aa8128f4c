"""3RScan (Wald et al. 2019): `sequence/frame-%06d.{color.jpg,depth.pgm,pose.txt}` and `_info.txt`, or `sequence.zip`.

The archive is read as it is. `_info.txt` is the header of a ScanNet recording in text. Tango phones were held upright,
but images lie on their side: frames are turned. Worlds have z up; each scan has its own, the reference scan's is not
needed (and the transforms to it, in `3RScan.json`, carry millimetres). What that file is read for is which scans show
one place.

Objects: boxes and labels from `semseg.v2.json` or `semseg.json`; where a box is missing, the points of
`labels.instances.annotated.v2.ply` with that `objectId`; labels that the scan itself lacks from `objects.json` of 3DSSG
(Wald et al. 2020) beside the scans.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hatch_data.errors import ScanError
from hatch_data.geometry import Array
from hatch_data.scans import archive, files, scannet
from hatch_data.scans.annotations import instances_of_points, ply_vertices, stated_box
from hatch_data.scans.posed import Intrinsics, Rig, View, posed_frames
from hatch_data.scans.upright import upright
from hatch_data.scene import Instance, Scene

LAYOUT = "3rscan"
WANTED = "sequence/ or sequence.zip with frame-%06d.{color.jpg,depth.pgm,pose.txt (4x4, camera to world)} and _info.txt"
UP = np.array([0.0, 0.0, 1.0])

_FRAME = r"frame-(\d+)\."


def evidence(path: Path) -> str | None:
    """What in the folder speaks for 3RScan."""
    if files.holds(path / "sequence", _FRAME + r"depth\.pgm"):
        return "frame-*.depth.pgm in sequence"
    return "sequence.zip" if (path / "sequence.zip").is_file() else None


def read(path: Path) -> Scene:
    """The scan in `path`; ids are `frame-000000`."""
    home = path / "sequence" if (path / "sequence").is_dir() else path / "sequence.zip"
    entries: Sequence[files.Readable] = sorted(home.iterdir()) if home.is_dir() else archive.members(home)
    color, depth, pose = (
        files.by_number(entries, _FRAME + ending, home) for ending in (r"color\.jpg", r"depth\.pgm", r"pose\.txt")
    )
    numbers = sorted(color.keys() | depth.keys() | pose.keys())
    views = [View(f"frame-{n:06d}", color.get(n), depth.get(n), pose.get(n)) for n in numbers]
    info = next((entry for entry in entries if entry.name == "_info.txt"), None)
    if info is None:
        raise ScanError(f"{home}: no _info.txt, so no intrinsics; needs {WANTED}")
    mesh = next((m for m in (path / "mesh.refined.v2.obj", path / "mesh.refined.obj") if m.is_file()), None)
    frames, dropped = posed_frames(path, views, _rig(info), WANTED, mesh)
    return Scene(
        path.name, LAYOUT, space(path), upright(frames, UP), UP, "layout", _instances(path), dropped=dropped, mesh=mesh
    )


def space(path: Path) -> str:
    """The place: the reference scan of `3RScan.json`, looked for beside the scan and above, else the scan itself."""
    for folder in (path.parent, path.parent.parent):
        if (file := folder / "3RScan.json").is_file():
            return _references(file, file.stat().st_mtime_ns).get(path.name, path.name)
    return path.name


@lru_cache(maxsize=2)
def _references(file: Path, changed_ns: int) -> dict[str, str]:
    """Reference scan by scan; kept, since all scans of a release ask, until the file changes."""
    try:
        return {
            scan["reference"]: place["reference"]
            for place in files.read_json(file)
            for scan in (place, *place.get("scans", []))
        }
    except files.MALFORMED as error:
        raise ScanError(f"{file}: no list of places with reference and scans ({error!r}); copy it again") from error


def _rig(info: files.Readable) -> Rig:
    told = dict(line.split(" = ", 1) for line in files.read_text(info).splitlines() if " = " in line)

    def numbers(key: str, default: Array | None = None) -> Array:
        try:
            return np.array(told[key].split(), dtype=np.float64)
        except files.MALFORMED as error:
            if default is not None and key not in told:
                return default
            raise ScanError(f"{info}: '{key}' is missing or no numbers; restore the file") from error

    def intrinsics(what: str) -> Intrinsics:
        k = numbers(f"m_calibration{what}Intrinsic")
        width, height = numbers(f"m_{what.lower()}Width"), numbers(f"m_{what.lower()}Height")
        if len(k) < 7 or len(width) != 1 or len(height) != 1 or not np.isfinite([*k, *width, *height]).all():
            raise ScanError(
                f"{info}: m_calibration{what}Intrinsic holds {len(k)} numbers, not all of use; restore the file"
            )
        return Intrinsics(k[0], k[5], k[2], k[6], f"{info}", (int(width[0]), int(height[0])))

    extrinsic = [numbers(f"m_calibration{what}Extrinsic", np.eye(4)).ravel() for what in ("Color", "Depth")]
    shift = float(numbers("m_depthShift", np.array([1000.0])).sum())
    if any(one.size != 16 for one in extrinsic) or not 0 < shift < np.inf:
        raise ScanError(f"{info}: an extrinsic is no 4x4 matrix, or m_depthShift no scale; restore the file")
    return Rig(
        intrinsics("Color"),
        intrinsics("Depth"),
        1 / shift,
        color_from_depth=scannet.color_from_depth(extrinsic[0].reshape(4, 4), extrinsic[1].reshape(4, 4), str(info)),
    )


def _instances(path: Path) -> list[Instance]:
    """Objects with stated boxes, then those of which only points are known."""
    semseg = next((f for f in (path / "semseg.v2.json", path / "semseg.json") if f.is_file()), None)
    try:
        groups = files.read_json(semseg)["segGroups"] if semseg else _objects(path)
        labels = {str(one.get("objectId", one.get("id"))): str(one["label"]) for one in groups}
        boxes = {str(one.get("objectId", one.get("id"))): one["obb"] for one in groups if one.get("obb")}
    except files.MALFORMED as error:
        raise ScanError(f"{semseg or path}: objects need an id and a label ({error!r}); restore the file") from error
    found = [Instance(id_, labels[id_], *stated_box(box, semseg or path)) for id_, box in boxes.items()]
    without = {id_: label for id_, label in labels.items() if id_ not in boxes}
    return found + (instances_of_points(without, _points(path), UP) if without else [])


def _objects(path: Path) -> list[dict[str, Any]]:
    """Of 3DSSG: the objects of this scan, ids and labels; none where the file is not there."""
    for folder in (path, path.parent, path.parent.parent):
        if (folder / "objects.json").is_file():
            scans = files.read_json(folder / "objects.json")["scans"]
            return next((scan["objects"] for scan in scans if scan["scan"] == path.name), [])
    return []


def _points(path: Path) -> dict[str, Array]:
    """Vertices of the annotated mesh by object."""
    ply = path / "labels.instances.annotated.v2.ply"
    if not ply.is_file():
        return {}
    vertices, object_of_vertex = ply_vertices(ply, "objectId")
    return {str(id_): vertices[object_of_vertex == id_] for id_ in np.unique(object_of_vertex)}
