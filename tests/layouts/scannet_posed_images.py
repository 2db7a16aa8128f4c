"""ScanNet posed_images: colour, depth and pose in one folder, and the colour camera only."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hatch_data.geometry import Array, Camera
from tests.layouts import room

LAYOUT = "scannet-posed-images"
COLOR = Camera(324, 242, 292.5, 292.9, 161.6, 120.8)
DEPTH = COLOR.resized(160, 120)
COLOR_FROM_DEPTH = np.eye(4)
METRES_PER_UNIT = 1e-3


def world(poses: dict[int, Array]) -> dict[int, Array]:
    return poses


def write(folder: Path, poses: dict[int, Array]) -> None:
    folder.mkdir(parents=True)
    for n, pose in poses.items():
        color_file(folder, n).write_bytes(room.jpeg(room.render(COLOR, pose)[0]))
        depth_file(folder, n).write_bytes(room.depth_png(room.render(DEPTH, pose)[1], 1000))
        pose_file(folder, n).write_text(room.matrix_text(pose))
    (folder / "intrinsic.txt").write_text(room.matrix_text(room.intrinsic_4x4(COLOR)))


def frame_id(n: int) -> str:
    return f"{n:05d}"


def color_file(folder: Path, n: int) -> Path:
    return folder / f"{n:05d}.jpg"


def depth_file(folder: Path, n: int) -> Path:
    return folder / f"{n:05d}.png"


def pose_file(folder: Path, n: int) -> Path:
    return folder / f"{n:05d}.txt"
