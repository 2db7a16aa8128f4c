"""ScanNet extracted: unpadded numbers, colour twice the size of depth, a camera each, extrinsics not identity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from hatch_data.geometry import Array, Camera
from tests.layouts import room

LAYOUT = "scannet"
COLOR = Camera(324, 242, 292.5, 292.9, 161.6, 120.8)
DEPTH = Camera(160, 120, 144.4, 144.6, 79.6, 59.7)
COLOR_FROM_DEPTH = np.eye(4)
COLOR_FROM_DEPTH[:3, :3] = Rotation.from_rotvec([0.7, -0.4, 0.2], degrees=True).as_matrix()
COLOR_FROM_DEPTH[:3, 3] = -0.04, 0.002, 0.01
#: `extrinsic_color.txt`: the rig is neither camera's.
RIG_FROM_COLOR = np.eye(4)
RIG_FROM_COLOR[:3, 3] = 0.01, 0.02, -0.03
METRES_PER_UNIT = 1e-3


def world(poses: dict[int, Array]) -> dict[int, Array]:
    return poses


def write(folder: Path, poses: dict[int, Array]) -> None:
    for name in ("color", "depth", "pose", "intrinsic"):
        (folder / name).mkdir(parents=True)
    for n, world_from_color in poses.items():
        color_file(folder, n).write_bytes(room.jpeg(room.render(COLOR, world_from_color)[0]))
        depth = room.render(DEPTH, world_from_color @ COLOR_FROM_DEPTH)[1]
        depth_file(folder, n).write_bytes(room.depth_png(depth, 1000))
        _pose_file(folder, n).write_text(room.matrix_text(world_from_color))
    for name, camera, extrinsic in (
        ("color", COLOR, RIG_FROM_COLOR),
        ("depth", DEPTH, RIG_FROM_COLOR @ COLOR_FROM_DEPTH),
    ):
        k = np.eye(4)
        k[:3, :3] = camera.matrix
        (folder / "intrinsic" / f"intrinsic_{name}.txt").write_text(room.matrix_text(k))
        (folder / "intrinsic" / f"extrinsic_{name}.txt").write_text(room.matrix_text(extrinsic))


def frame_id(n: int) -> str:
    return str(n)


def color_file(folder: Path, n: int) -> Path:
    return folder / "color" / f"{n}.jpg"


def depth_file(folder: Path, n: int) -> Path:
    return folder / "depth" / f"{n}.png"


def _pose_file(folder: Path, n: int) -> Path:
    return folder / "pose" / f"{n}.txt"


def set_pose(folder: Path, n: int, matrix: Array | None) -> None:
    _pose_file(folder, n).unlink()
    if matrix is not None:
        _pose_file(folder, n).write_text(room.matrix_text(matrix))
