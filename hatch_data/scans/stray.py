"""Stray Scanner: `rgb.mp4`, `depth/%06d.png` and `confidence/%06d.png` (256x192), `camera_matrix.csv`, `odometry.csv`.

The camera matrix is that of the video; a newer odometry states it for each frame. Poses are camera to world with this
project's axes. The world is ARKit's, y up. Depth is in millimetres; where ARKit's confidence (0 to 2) is low it is
dropped. A line of the odometry belongs to the frame of the video, and the depth image, of its number.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from hatch_data.errors import ScanError
from hatch_data.scans import files
from hatch_data.scans.lens import Lens
from hatch_data.scans.lensed import DepthFile, Shot, lensed_frames
from hatch_data.scans.posed import Intrinsics
from hatch_data.scans.trajectory import pose_from_quaternion
from hatch_data.scans.upright import upright
from hatch_data.scans.video import VideoFrame, frame_count
from hatch_data.scene import Scene

LAYOUT = "stray"
WANTED = "rgb.mp4, depth/%06d.png, camera_matrix.csv and odometry.csv (timestamp, frame, x, y, z, qx, qy, qz, qw)"
POSE_COLUMNS = ("qx", "qy", "qz", "qw", "x", "y", "z")
INTRINSICS_COLUMNS = ("fx", "fy", "cx", "cy")
#: ARKit's confidence from which depth is used: 0 is low.
LEAST_CONFIDENCE = 1
UP = np.array([0.0, 1.0, 0.0])


def evidence(path: Path) -> str | None:
    """What in the folder speaks for Stray Scanner."""
    return "rgb.mp4 and odometry.csv" if all((path / n).is_file() for n in ("rgb.mp4", "odometry.csv")) else None


def read(path: Path) -> Scene:
    """The scan in `path`; ids are the six-digit numbers of the frames."""
    video = path / "rgb.mp4"
    count = frame_count(video)
    depths = files.numbered(path / "depth", r"(\d+)\.png")
    confidence = path / "confidence"
    shared = _camera_matrix(path / "camera_matrix.csv")
    rows = _odometry(path / "odometry.csv")
    shots = []
    for n in sorted(set(range(count)) | depths.keys() | rows.keys()):
        row, depth, color = rows.get(n), depths.get(n), VideoFrame(video, n)
        camera = _own_intrinsics(row, path / "odometry.csv") or shared
        shots.append(
            Shot(
                id=f"{n:06d}",
                pose=pose_from_quaternion(*np.split(np.array([row[c] for c in POSE_COLUMNS]), [4])) if row else None,
                lens=Lens(camera.camera(color.size(), "colour")),
                color=color if n < count else None,
                depth=DepthFile(depth, 1e-3, confidence / depth.name if confidence.is_dir() else None, LEAST_CONFIDENCE)
                if depth
                else None,
                timestamp_s=row.get("timestamp") if row else None,
            )
        )
    frames, dropped = lensed_frames(path, shots, WANTED)
    return Scene(path.name, LAYOUT, space(path), upright(frames, UP), UP, "layout", dropped=dropped)


def space(path: Path) -> str:
    """The place: each scan is one of its own."""
    return path.name


def _camera_matrix(file: Path) -> Intrinsics:
    try:
        k = np.array(files.read_text(file).replace(",", " ").split(), dtype=np.float64).reshape(3, 3)
    except ValueError as error:
        raise ScanError(f"{file}: does not hold a 3x3 matrix; restore the file") from error
    return Intrinsics(k[0, 0], k[1, 1], k[0, 2], k[1, 2], str(file))


def _own_intrinsics(row: dict[str, float] | None, file: Path) -> Intrinsics | None:
    """Of one frame, where the odometry states them."""
    if row is None or not set(INTRINSICS_COLUMNS) <= row.keys():
        return None
    fx, fy, cx, cy = (row[column] for column in INTRINSICS_COLUMNS)
    return Intrinsics(fx, fy, cx, cy, str(file))


def _odometry(file: Path) -> dict[int, dict[str, float]]:
    """Numbers by column, for each frame."""
    lines = csv.DictReader(files.read_text(file).splitlines(), skipinitialspace=True)
    if missing := {"frame", *POSE_COLUMNS} - set(lines.fieldnames or ()):
        raise ScanError(f"{file}: no column {', '.join(sorted(missing))}; restore the file")
    rows: dict[int, dict[str, float]] = {}
    for line in lines:
        try:
            rows[int(line["frame"])] = {name: float(value) for name, value in line.items()}
        except files.MALFORMED as error:
            raise ScanError(f"{file}, line {lines.line_num}: {error}; restore the file") from error
    return rows
