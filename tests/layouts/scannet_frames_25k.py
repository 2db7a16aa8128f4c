"""scannet_frames_25k: every 100th frame, padded names, intrinsics beside the folders, depth half the size of colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hatch_data.geometry import Array, Camera
from tests.layouts import room

LAYOUT = "scannet-frames-25k"
COLOR = Camera(324, 242, 292.5, 292.9, 161.6, 120.8)
DEPTH = Camera(160, 120, 144.4, 144.6, 79.6, 59.7)
COLOR_FROM_DEPTH = np.eye(4)
METRES_PER_UNIT = 1e-3


def world(poses: dict[int, Array]) -> dict[int, Array]:
    return poses


def write(folder: Path, poses: dict[int, Array]) -> None:
    for name in ("color", "depth", "pose"):
        (folder / name).mkdir(parents=True)
    for n, pose in poses.items():
        color_file(folder, n).write_bytes(room.jpeg(room.render(COLOR, pose)[0]))
        depth_file(folder, n).write_bytes(room.depth_png(room.render(DEPTH, pose)[1], 1000))
        pose_file(folder, n).write_text(room.matrix_text(pose))
    for name, camera in (("color", COLOR), ("depth", DEPTH)):
        (folder / f"intrinsics_{name}.txt").write_text(room.matrix_text(room.intrinsic_4x4(camera)))


def frame_id(n: int) -> str:
    return f"{100 * n:06d}"


def color_file(folder: Path, n: int) -> Path:
    return folder / "color" / f"{frame_id(n)}.jpg"


def depth_file(folder: Path, n: int) -> Path:
    return folder / "depth" / f"{frame_id(n)}.png"


def pose_file(folder: Path, n: int) -> Path:
    return folder / "pose" / f"{frame_id(n)}.txt"
