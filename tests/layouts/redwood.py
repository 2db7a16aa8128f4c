"""Redwood: one trajectory file, a json by columns, and a world that is the first camera."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from hatch_data.geometry import Array, Camera
from tests.layouts import room

LAYOUT = "redwood"
COLOR = DEPTH = Camera(160, 120, 131.25, 131.5, 79.5, 60.25)
COLOR_FROM_DEPTH = np.eye(4)
METRES_PER_UNIT = 1e-3


def world(poses: dict[int, Array]) -> dict[int, Array]:
    return room.in_frame_of(poses[min(poses)], poses)


def write(folder: Path, poses: dict[int, Array]) -> None:
    """`poses` in the room's world; written in the first camera's."""
    for name in ("color", "depth"):
        (folder / name).mkdir(parents=True)
    for n, pose in poses.items():
        color, depth = room.render(COLOR, pose)
        color_file(folder, n).write_bytes(room.jpeg(color))
        depth_file(folder, n).write_bytes(room.depth_png(depth, 1000))
    _log(folder).write_text("".join(_entry(n, pose) for n, pose in world(poses).items()))
    k = COLOR.matrix.flatten(order="F").tolist()
    told = {"width": COLOR.width, "height": COLOR.height, "intrinsic_matrix": k}
    (folder / "camera_intrinsic.json").write_text(json.dumps(told))


def frame_id(n: int) -> str:
    return f"{n:05d}"


def color_file(folder: Path, n: int) -> Path:
    return folder / "color" / f"{n:05d}.jpg"


def depth_file(folder: Path, n: int) -> Path:
    return folder / "depth" / f"{n:05d}.png"


def set_pose(folder: Path, n: int, matrix: Array | None) -> None:
    lines = _log(folder).read_text().splitlines(keepends=True)
    start = next(i for i in range(0, len(lines), 5) if int(lines[i].split()[0]) == n)
    lines[start : start + 5] = [] if matrix is None else [_entry(n, matrix)]
    _log(folder).write_text("".join(lines))


def _log(folder: Path) -> Path:
    return folder / "trajectory.log"


def _entry(n: int, pose: Array) -> str:
    return f"{n} {n} {n + 1}\n{room.matrix_text(pose)}"
