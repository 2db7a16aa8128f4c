"""The poses that come with a mesh: a TUM trajectory, a matrix a line, a Redwood log, or nerfstudio's `transforms.json`.

All are camera to world; `transforms.json` has OpenGL's axes and its own intrinsics, the others those of an Open3D json
beside them, else the PrimeSense default. The poses must be in the world of the mesh.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from hatch_data.errors import ScanError
from hatch_data.geometry import Array, Camera
from hatch_data.scans import files, nerfstudio, redwood
from hatch_data.scans.lensed import GL_FROM_CAMERA
from hatch_data.scans.trajectory import pose_from_quaternion

PATTERNS = ("transforms.json", "*.log", "*.tum", "traj*.txt", "pose*.txt", "groundtruth.txt")
WANTED = "one of transforms.json, a TUM trajectory (8 numbers a line), 16 or 12 numbers a line, or a Redwood *.log"


class ListedPose(NamedTuple):
    """One pose as it is written, (4, 4) world-from-camera, sound or not, with its camera."""

    id: str
    world_from_camera: Array
    camera: Camera
    timestamp_s: float | None = None


def find(folder: Path) -> Path | None:
    """The folder's only pose list, None where there is none. Raises `ScanError` where there are several."""
    found = sorted({file for pattern in PATTERNS for file in folder.glob(pattern)})
    if len(found) > 1:
        raise ScanError(f"{folder}: several pose lists ({', '.join(file.name for file in found)}); keep one")
    return found[0] if found else None


def read(file: Path) -> list[ListedPose]:
    """All poses of a list, in its order. Raises `ScanError` where it is none of the known kinds."""
    if file.suffix == ".json":
        return _transforms(file)
    camera = redwood.intrinsics(file.parent).camera(_size(file.parent), "rendered")
    if file.suffix == ".log":
        return [ListedPose(f"{n:06d}", pose, camera) for n, pose in redwood.trajectory(file).items()]
    rows = [line.split() for line in files.read_text(file).splitlines() if line.strip() and line.lstrip()[0] != "#"]
    widths = {len(row) for row in rows}
    if widths not in ({8}, {12}, {16}):
        raise ScanError(f"{file}: lines of {', '.join(map(str, sorted(widths))) or 'no'} words; needs {WANTED}")
    try:
        numbers = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise ScanError(f"{file}: {error}; restore the file") from error
    if widths == {8}:
        return [
            ListedPose(row[0], pose_from_quaternion(values[4:], values[1:4]), camera, float(values[0]))
            for row, values in zip(rows, numbers, strict=True)
        ]
    last = np.array([0.0, 0.0, 0.0, 1.0])
    poses = [
        np.vstack([values.reshape(3, 4), last]) if len(values) == 12 else values.reshape(4, 4) for values in numbers
    ]
    return [ListedPose(f"{n:06d}", pose, camera) for n, pose in enumerate(poses)]


def _size(folder: Path) -> tuple[int, int]:
    return redwood.intrinsics(folder).size or (640, 480)


def _transforms(file: Path) -> list[ListedPose]:
    """Pinhole cameras whatever the lens: nothing here was photographed."""
    told = nerfstudio.read_transforms(file)
    original_from_written, scale = nerfstudio.applied(file, told)
    poses = []
    for n, frame in enumerate(told["frames"]):
        pose, lens = nerfstudio.written_pose(frame), nerfstudio.read_lens(file, {**told, **frame})
        if pose is None or lens is None or not lens.camera.sound:
            raise ScanError(
                f"{file}: frame {n} has no 4x4 transform_matrix, or no w, h and fl_x of a camera; restore the file"
            )
        pose = original_from_written @ pose @ GL_FROM_CAMERA
        pose[:3, 3] /= scale
        poses.append(ListedPose(Path(str(frame.get("file_path", f"{n:06d}"))).stem, pose, lens.camera))
    return poses
