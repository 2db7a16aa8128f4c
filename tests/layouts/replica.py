"""Replica: one trajectory by position, the camera in a file beside the scans, depth in 1/6553.5 m."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from hatch_data.geometry import Array, Camera
from tests.layouts import room

LAYOUT = "replica"
COLOR = DEPTH = Camera(300, 170, 150.0, 150.25, 149.5, 84.5)
COLOR_FROM_DEPTH = np.eye(4)
METRES_PER_UNIT = 1 / 6553.5


def world(poses: dict[int, Array]) -> dict[int, Array]:
    return poses


def write(folder: Path, poses: dict[int, Array]) -> None:
    (folder / "results").mkdir(parents=True)
    for n, pose in poses.items():
        color, depth = room.render(COLOR, pose)
        color_file(folder, n).write_bytes(room.jpeg(color))
        depth_file(folder, n).write_bytes(room.depth_png(depth, 6553.5))
    (folder / "traj.txt").write_text("".join(" ".join(f"{v:.18e}" for v in p.ravel()) + "\n" for p in poses.values()))
    camera = {"w": COLOR.width, "h": COLOR.height, "fx": COLOR.fx, "fy": COLOR.fy, "cx": COLOR.cx, "cy": COLOR.cy}
    (folder.parent / "cam_params.json").write_text(json.dumps({"camera": camera | {"scale": 6553.5}}))


def set_pose(folder: Path, n: int, text: str) -> None:
    lines = (folder / "traj.txt").read_text().splitlines()
    lines[n] = text
    (folder / "traj.txt").write_text("\n".join(lines) + "\n")


def frame_id(n: int) -> str:
    return f"frame{n:06d}"


def color_file(folder: Path, n: int) -> Path:
    return folder / "results" / f"frame{n:06d}.jpg"


def depth_file(folder: Path, n: int) -> Path:
    return folder / "results" / f"depth{n:06d}.png"
