"""TUM: lists of different length, out of order, with stamps that never agree exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from hatch_data.geometry import Array, Camera
from tests.layouts import room

LAYOUT = "tum"
COLOR = DEPTH = Camera(640, 480, 525.0, 525.0, 319.5, 239.5)
COLOR_FROM_DEPTH = np.eye(4)
METRES_PER_UNIT = 1 / 5000
START_S, STEP_S, POSE_OFFSETS_S = 1305031229.5, 0.1, (-0.003, 0.006)


def world(poses: dict[int, Array]) -> dict[int, Array]:
    return poses


def write(folder: Path, poses: dict[int, Array]) -> None:
    """Depth comes up to 12 ms late or early. Poses are known 3 ms before and 6 ms after each image only."""
    for name in ("rgb", "depth"):
        (folder / name).mkdir(parents=True)
    rgb, depth = [], [f"{START_S - 1:.6f} depth/nothing.png\n"]
    for n, pose in poses.items():
        image, metres = room.render(COLOR, pose)
        color_file(folder, n).write_bytes(room.png(image))
        depth_file(folder, n).write_bytes(room.depth_png(metres, 5000))
        rgb.append(f"{frame_id(n)} rgb/{color_file(folder, n).name}\n")
        depth.append(f"{_depth_stamp(n)} depth/{depth_file(folder, n).name}\n")
    (folder / "rgb.txt").write_text("# color images\n" + "".join(rgb))
    (folder / "depth.txt").write_text("# depth maps\n" + "".join(reversed(depth)))
    rows = [row for n, pose in poses.items() for row in _around(n, pose)]
    (folder / "groundtruth.txt").write_text("# timestamp tx ty tz qx qy qz qw\n" + "".join(rows))


def frame_id(n: int) -> str:
    return f"{START_S + STEP_S * n:.6f}"


def color_file(folder: Path, n: int) -> Path:
    return folder / "rgb" / f"{frame_id(n)}.png"


def depth_file(folder: Path, n: int) -> Path:
    return folder / "depth" / f"{_depth_stamp(n)}.png"


def set_pose(folder: Path, n: int, matrix: Array | None) -> None:
    """A lost pose is written as numbers that are not finite, an all-zero one with an all-zero quaternion."""
    truth = folder / "groundtruth.txt"
    around = {f"{float(frame_id(n)) + offset_s:.6f}" for offset_s in POSE_OFFSETS_S}
    lines = []
    for line in truth.read_text().splitlines(keepends=True):
        stamp = line.split()[0]
        if stamp not in around:
            lines.append(line)
        elif matrix is not None:
            lines.append(" ".join([stamp] + [str(matrix[0, 0])] * 7) + "\n")
    truth.write_text("".join(lines))


def _depth_stamp(n: int) -> str:
    return f"{START_S + STEP_S * n + 0.012 * np.sin(3 * n + 1):.6f}"


def _around(n: int, pose: Array) -> list[str]:
    rows = []
    for offset_s in POSE_OFFSETS_S:
        position = pose[:3, 3] + offset_s * np.array([2.0, -4.0, 1.0])
        turned = Rotation.from_matrix(pose[:3, :3]) * Rotation.from_rotvec(offset_s * np.array([2.0, 6.0, -4.0]))
        numbers = " ".join(f"{value:.8f}" for value in (*position, *turned.as_quat()))
        rows.append(f"{float(frame_id(n)) + offset_s:.6f} {numbers}\n")
    return rows
