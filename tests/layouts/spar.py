"""SPAR-7M-RGBD: ScanNet's files under SPAR's names, numbers with gaps; or intrinsics for each image and other names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hatch_data.geometry import Array, Camera
from tests.layouts import room

LAYOUT = "spar"
COLOR = Camera(324, 242, 292.5, 292.9, 161.6, 120.8)
DEPTH = Camera(160, 120, 144.4, 144.6, 79.6, 59.7)
COLOR_FROM_DEPTH = np.eye(4)
METRES_PER_UNIT = 1e-3


def world(poses: dict[int, Array]) -> dict[int, Array]:
    return poses


def write(folder: Path, poses: dict[int, Array]) -> None:
    _write(folder, poses, COLOR, DEPTH, 1000, ("image_color", "image_depth", "pose"))
    for name, camera in (("color", COLOR), ("depth", DEPTH)):
        k = np.eye(4)
        k[:3, :3] = camera.matrix
        (folder / "intrinsic" / f"intrinsic_{name}.txt").write_text(room.matrix_text(k))
        (folder / "intrinsic" / f"extrinsic_{name}.txt").write_text(room.matrix_text(np.eye(4)))


def camera_of(n: int) -> Camera:
    """The camera of each image where each has its own."""
    return Camera(160, 120, 140.0 + n, 141.0 + n, 79.5, 60.0 - n / 10)


def write_with_own_intrinsics(folder: Path, poses: dict[int, Array], units_per_metre: float = 1000) -> None:
    for n, pose in poses.items():
        _write(folder, {n: pose}, camera_of(n), camera_of(n), units_per_metre, ("image_color", "image_depth", "pose"))
        (folder / "intrinsic" / f"{frame_id(n)}.txt").write_text(room.matrix_text(camera_of(n).matrix))


def frame_id(n: int) -> str:
    """Numbers with gaps, of different length."""
    return str(7 * n)


def color_file(folder: Path, n: int) -> Path:
    return folder / "image_color" / f"{frame_id(n)}.jpg"


def depth_file(folder: Path, n: int) -> Path:
    return folder / "image_depth" / f"{frame_id(n)}.png"


def set_pose(folder: Path, n: int, matrix: Array | None) -> None:
    file = folder / "pose" / f"{frame_id(n)}.txt"
    file.unlink()
    if matrix is not None:
        file.write_text(room.matrix_text(matrix))


def _write(
    folder: Path,
    poses: dict[int, Array],
    color: Camera,
    depth: Camera,
    units_per_metre: float,
    names: tuple[str, str, str],
) -> None:
    for name in (*names, "intrinsic"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for n, pose in poses.items():
        stem = frame_id(n)
        (folder / names[0] / f"{stem}.jpg").write_bytes(room.jpeg(room.render(color, pose)[0]))
        (folder / names[1] / f"{stem}.png").write_bytes(room.depth_png(room.render(depth, pose)[1], units_per_metre))
        (folder / names[2] / f"{stem}.txt").write_text(room.matrix_text(pose))
