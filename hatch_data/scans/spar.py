"""SPAR-7M-RGBD scene folders: `image_color/ image_depth/ pose/ intrinsic/`, or the same as `video_*`.

What belongs together has one name without its ending. Poses are camera to world with OpenCV axes, one 4x4 in a file.
Intrinsics are those of the scan behind the scene: `intrinsic_color.txt` and `intrinsic_depth.txt` (with ScanNet's
extrinsics) for all images, or a file for each image, 3x3 or 4x4. Depth is registered where it has no intrinsics of its
own, and in the source's units: 1/4000 m below a folder `matterport*`, else millimetres. So are the scenes under `rxr`,
of Matterport3D too, whose unit nobody states: `hatch-data doctor` tells where it is wrong. All sources have z up.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from hatch_data.errors import ScanError
from hatch_data.geometry import Array
from hatch_data.scans import files
from hatch_data.scans.lensed import by_number
from hatch_data.scans.posed import Intrinsics, Rig, View, posed_frames
from hatch_data.scans.scannet import color_from_depth
from hatch_data.scene import Scene

LAYOUT = "spar"
WANTED = "image_color/<name>.jpg, image_depth/<name>.png, pose/<name>.txt (4x4, camera to world) and intrinsic/"
#: Folders of colour, depth and poses; `video_*` are frames of the same scene, read where there are no images.
FOLDERS = (("image_color", "image_depth", "pose"), ("video_color", "video_depth", "video_pose"))
SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG")
MILLIMETRE, MATTERPORT_UNIT_M = 1e-3, 1 / 4000


def evidence(path: Path) -> str | None:
    """What in the folder speaks for SPAR."""
    found = next((two for two in FOLDERS if all((path / name).is_dir() for name in two[:2])), None)
    return f"folders {found[0]} and {found[1]}" if found else None


def read(path: Path) -> Scene:
    """The scan in `path`; ids are the names of the images without their ending, in the order of their numbers."""
    names = next((three for three in FOLDERS if (path / three[0]).is_dir()), FOLDERS[0])
    color = {file.stem: file for suffix in SUFFIXES for file in (path / names[0]).glob(f"*{suffix}")}
    depth = {file.stem: file for file in (path / names[1]).glob("*.png")}
    pose = {file.stem: file for file in (path / names[2]).glob("*.txt")}
    unit_m = MATTERPORT_UNIT_M if any(part.lower().startswith("matterport") for part in path.parts) else MILLIMETRE
    intrinsic = path / "intrinsic"
    shared = _shared_rig(intrinsic, unit_m)
    views: list[View] = []
    lost: dict[str, list[str]] = {}
    for name in sorted(color.keys() | depth.keys() | pose.keys(), key=by_number):
        rig = None
        if shared is None:
            file = intrinsic / f"{name}.txt"
            matrix = _matrix(file) if file.is_file() else None
            if matrix is None:
                lost.setdefault("bad_intrinsics" if file.is_file() else "missing_intrinsics", []).append(name)
                continue
            rig = Rig(_intrinsics(matrix, file), None, unit_m)
        views.append(View(name, color.get(name), depth.get(name), pose.get(name), rig=rig))
    rig = shared or next((view.rig for view in views if view.rig), None)
    if rig is None:
        raise ScanError(f"{intrinsic}: no intrinsics, neither shared nor by image; needs {WANTED}")
    frames, dropped = posed_frames(path, views, rig, WANTED)
    up = np.array([0.0, 0.0, 1.0])
    return Scene(path.name, LAYOUT, space(path), frames, up, "layout", dropped={**lost, **dropped})


def space(path: Path) -> str:
    """The place: `scene0000` of ScanNet's `scene0000_00`; any other scene is one of its own."""
    named = re.match(r"scene\d{4}(?=_\d\d)", path.name)
    return named[0] if named else path.name


def _shared_rig(folder: Path, unit_m: float) -> Rig | None:
    """The cameras of all images, None where each has its own."""
    file = next((f for f in (folder / "intrinsic_color.txt", folder / "intrinsic.txt") if f.is_file()), None)
    if file is None:
        return None
    color, of_depth = _required(file), folder / "intrinsic_depth.txt"
    depth = _intrinsics(_required(of_depth), of_depth) if of_depth.is_file() else None
    rig_from_color, rig_from_depth = (_extrinsic(folder / f"extrinsic_{camera}.txt") for camera in ("color", "depth"))
    offset = color_from_depth(rig_from_color, rig_from_depth, str(folder))
    return Rig(_intrinsics(color, file), depth, unit_m, color_from_depth=offset)


def _matrix(file: Path) -> Array | None:
    """(3, 3) intrinsics from nine or sixteen numbers, None where the file holds anything else."""
    try:
        numbers = np.array(files.read_text(file).split(), dtype=np.float64)
    except ValueError:
        return None
    if numbers.size not in (9, 16) or not np.isfinite(numbers).all():
        return None
    return numbers.reshape(3, 3) if numbers.size == 9 else numbers.reshape(4, 4)[:3, :3]


def _required(file: Path) -> Array:
    matrix = _matrix(file)
    if matrix is None:
        raise ScanError(f"{file}: does not hold a 3x3 or 4x4 matrix; restore the file")
    return matrix


def _intrinsics(matrix: Array, file: Path) -> Intrinsics:
    return Intrinsics(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], str(file))


def _extrinsic(file: Path) -> Array:
    return files.read_numbers(file, 4, 4) if file.is_file() else np.eye(4)
