"""7-Scenes: two cameras 25 mm apart, poses of the depth camera, 65535 for no depth, no intrinsics file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hatch_data.geometry import Array, Camera
from tests.layouts import room

LAYOUT = "7scenes"
COLOR = Camera(640, 480, 525.0, 525.0, 320.0, 240.0)
DEPTH = Camera(640, 480, 585.0, 585.0, 320.0, 240.0)
COLOR_FROM_DEPTH = np.eye(4)
COLOR_FROM_DEPTH[0, 3] = -0.025
METRES_PER_UNIT = 1e-3


def world(poses: dict[int, Array]) -> dict[int, Array]:
    return poses


def write(folder: Path, poses: dict[int, Array]) -> None:
    """`poses` are the colour camera's. The gravity file has gravity's own length."""
    folder.mkdir(parents=True)
    for n, world_from_color in poses.items():
        world_from_depth = world_from_color @ COLOR_FROM_DEPTH
        color_file(folder, n).write_bytes(room.png(room.render(COLOR, world_from_color)[0]))
        depth = room.render(DEPTH, world_from_depth)[1]
        depth_file(folder, n).write_bytes(room.depth_png(depth, 1000, none=65535))
        _pose_file(folder, n).write_text(room.matrix_text(world_from_depth))
    (folder / "gravity-direction.txt").write_text("0\n0\n-9.81\n")


def write_sequences(folder: Path, poses: dict[int, Array]) -> None:
    """Every other frame in seq-01, the others in seq-02, both numbered from 0 as in the original."""
    numbers = sorted(poses)
    for name, part in (("seq-01", numbers[::2]), ("seq-02", numbers[1::2])):
        write(folder / name, {i: poses[n] for i, n in enumerate(part)})
        (folder / name / "gravity-direction.txt").unlink()
    (folder / "TrainSplit.txt").write_text("sequence1\n")
    (folder / "TestSplit.txt").write_text("sequence2\n")


def frame_id(n: int) -> str:
    return f"frame-{n:06d}"


def color_file(folder: Path, n: int) -> Path:
    return folder / f"frame-{n:06d}.color.png"


def depth_file(folder: Path, n: int) -> Path:
    return folder / f"frame-{n:06d}.depth.png"


def _pose_file(folder: Path, n: int) -> Path:
    return folder / f"frame-{n:06d}.pose.txt"


def set_pose(folder: Path, n: int, matrix: Array | None) -> None:
    _pose_file(folder, n).unlink()
    if matrix is not None:
        _pose_file(folder, n).write_text(room.matrix_text(matrix))
