"""Redwood and Open3D: `image/` or `color/`, `depth/`, and a trajectory `*.log` of five lines a pose.

A pose is a line of three integers and a 4x4 camera-to-world matrix (Choi et al. 2015). The first integer counts from 0,
the third from 1: whichever is found more often among the files' names is their number, the third where files begin with
`000001.png` (Zhou and Koltun 2013) or, as Redwood's own recordings, are called `000001-000000000000.jpg` (number from
1, stamp in microseconds). Depth is in millimetres and registered to colour. Without an intrinsics file
the camera is the PrimeSense default. The world is that of the first camera: gravity is estimated.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from hatch_data.errors import ScanError
from hatch_data.geometry import Array
from hatch_data.scans import files, gravity
from hatch_data.scans.posed import Intrinsics, Rig, View, posed_frames
from hatch_data.scene import Scene

LAYOUT = "redwood"
WANTED = "image/ or color/ and depth/ with numbered images, and a trajectory *.log whose frame numbers are theirs"
PRIMESENSE = Intrinsics(525.0, 525.0, 319.5, 239.5, "the PrimeSense default", (640, 480))
INTRINSICS_FILES = ("camera_intrinsic.json", "intrinsics.json", "intrinsic.json", "camera_intrinsics.json")
MILLIMETRE = 1e-3

Entry = tuple[tuple[int, int, int], Array]

_PLAIN = r"(\d+)\.(?:jpg|png)"
_STAMPED = r"(\d+)-\d+\.(?:jpg|png)"


def evidence(path: Path) -> str | None:
    """What in the folder speaks for Redwood: its image folders, and none of another layout's pose folders."""
    color = _color_folder(path)
    if color is None or not (path / "depth").is_dir():
        return None
    if any((path / other).exists() for other in ("pose", "intrinsic", "extrinsics", "rgb.txt")):
        return None
    return f"folders {color.name} and depth"


def read(path: Path) -> Scene:
    """The scan in `path`; ids are the names of the colour images without their ending."""
    color = _color_folder(path)
    if color is None:
        raise ScanError(f"{path}: no image/ or color/; needs {WANTED}")
    name = _STAMPED if files.holds(color, _STAMPED) else _PLAIN
    colors, depths = files.numbered(color, name), files.numbered(path / "depth", name)
    log = _log(path)
    entries = _entries(log)
    # The first integers, unless more of the third are numbers of files.
    number_at = max((0, 2), key=lambda at: len(colors.keys() & {integers[at] for integers, _ in entries}))
    poses = _by_number(log, entries, number_at)
    numbers = sorted(colors.keys() | depths.keys() | poses.keys())
    ids = {n: (colors.get(n) or depths.get(n) or Path(f"{n:05d}")).stem for n in numbers}
    views = [View(ids[n], colors.get(n), depths.get(n), poses.get(n)) for n in numbers]
    camera = intrinsics(path)
    frames, dropped = posed_frames(path, views, Rig(camera, camera, MILLIMETRE), WANTED)
    return Scene(path.name, LAYOUT, space(path), frames, gravity.estimate_up(frames), "estimated", dropped=dropped)


def space(path: Path) -> str:
    """The place: each scan is one of its own."""
    return path.name


def _color_folder(path: Path) -> Path | None:
    return next((path / name for name in ("image", "color") if (path / name).is_dir()), None)


def _log(path: Path) -> Path:
    """The trajectory: the only `*.log`, else `trajectory.log`, here or where Open3D's reconstruction leaves it."""
    logs = sorted(path.glob("*.log")) or sorted((path / "scene").glob("trajectory.log"))
    if len(logs) > 1:
        logs = [log for log in logs if log.name == "trajectory.log"] or logs
    if not logs:
        raise ScanError(f"{path}: no trajectory, so no poses; needs {WANTED}")
    if len(logs) > 1:
        names = ", ".join(log.name for log in logs)
        raise ScanError(f"{path}: several trajectories ({names}); keep one, or call it trajectory.log")
    return logs[0]


def trajectory(log: Path) -> dict[int, Array]:
    """World-from-camera by the first of the integers before each matrix. Raises `ScanError`."""
    return _by_number(log, _entries(log), 0)


def _by_number(log: Path, entries: list[Entry], number_at: int) -> dict[int, Array]:
    poses: dict[int, Array] = {}
    for integers, pose in entries:
        number = integers[number_at]
        if number in poses:
            raise ScanError(f"{log}: frame {number} has two poses; write each frame's number before its matrix")
        poses[number] = pose
    return poses


def _entries(log: Path) -> list[Entry]:
    """The three integers and the matrix of every pose. Raises `ScanError`."""
    lines = [line for line in files.read_text(log).splitlines() if line.strip()]
    entries = []
    for start in range(0, len(lines), 5):
        try:
            first, second, third = map(int, lines[start].split())
            pose = np.array(" ".join(lines[start + 1 : start + 5]).split(), dtype=np.float64).reshape(4, 4)
        except files.MALFORMED as error:
            raise ScanError(
                f"{log}: pose {start // 5} is not three integers and a 4x4 matrix; restore the file"
            ) from error
        entries.append(((first, second, third), pose))
    return entries


def intrinsics(path: Path) -> Intrinsics:
    """From Open3D's json, whose matrix is stored by columns, else PrimeSense."""
    file = next((path / name for name in INTRINSICS_FILES if (path / name).exists()), None)
    if file is None:
        return PRIMESENSE
    try:
        told = json.loads(files.read_text(file))
        k = np.array(told["intrinsic_matrix"], dtype=np.float64).reshape(3, 3, order="F")
        size = (int(told["width"]), int(told["height"]))
    except files.MALFORMED as error:
        raise ScanError(
            f"{file}: needs width, height and intrinsic_matrix (nine numbers by columns), as Open3D writes them"
        ) from error
    return Intrinsics(k[0, 0], k[1, 1], k[0, 2], k[1, 2], str(file), size)
