"""Matterport3D: three cameras a panorama, as taken through a bending lens, or undistorted with bottom-left origins."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hatch_data.geometry import Array, Camera
from tests.layouts import room

LAYOUT = "matterport"
COLOR_FROM_DEPTH = np.eye(4)
METRES_PER_UNIT = 1 / 4000
#: k1 k2 p1 p2 k3, as strong as the data set's.
DISTORTION = (0.2259, -0.5621, 0.0005, -0.0014, 0.4075)
GL_FROM_CV = np.diag([1.0, -1.0, -1.0, 1.0])


def camera(n: int) -> Camera:
    """Of frame n, before distortion: that of camera n % 3."""
    return Camera(320, 256, 269.0 + n % 3, 269.25 + n % 3, 157.5 + n % 3, 134.25)


def world(poses: dict[int, Array]) -> dict[int, Array]:
    return poses


def frame_id(n: int) -> str:
    return f"{_pano(n)}_i{n % 3}_0"


def _pano(n: int) -> str:
    return f"{n // 3:032x}"


def write_undistorted(folder: Path, poses: dict[int, Array]) -> None:
    conf = ["dataset matterport", f"n_images {len(poses)}", "depth_directory undistorted_depth_images"]
    for name in ("undistorted_color_images", "undistorted_depth_images", "undistorted_camera_parameters"):
        (folder / name).mkdir(parents=True)
    for n, pose in poses.items():
        seen = camera(n)
        color, depth = room.render(seen, pose)
        color_file(folder, n).write_bytes(room.jpeg(color))
        depth_file(folder, n).write_bytes(room.depth_png(depth, 4000))
        numbers = " ".join(f"{v:.10g}" for v in (pose @ GL_FROM_CV).ravel())
        conf += [
            f"intrinsics_matrix {seen.fx} 0 {seen.cx}  0 {seen.fy} {seen.height - 1 - seen.cy}  0 0 1",
            f"scan {depth_file(folder, n).name} {color_file(folder, n).name} {numbers}",
        ]
    conf_file(folder).write_text("\n".join([*conf, ""]))


def write_as_taken(folder: Path, poses: dict[int, Array]) -> None:
    """Each bundle keeps the folders of its archive."""
    for n, pose in poses.items():
        color, depth = room.render_rays(bent_rays(camera(n)), pose)
        pose_text = "\n".join(" ".join(f"{v:.10g}" for v in row) + " " for row in pose)
        seen = camera(n)
        lens = " ".join(str(v) for v in (seen.width, seen.height, seen.fx, seen.fy, seen.cx, seen.cy, *DISTORTION))
        for file, data in (
            (taken(folder, "color_images", f"{_pano(n)}_i{n % 3}_0.jpg"), room.jpeg(color)),
            (taken(folder, "depth_images", f"{_pano(n)}_d{n % 3}_0.png"), room.depth_png(depth, 4000)),
            (taken(folder, "camera_poses", f"{_pano(n)}_pose_{n % 3}_0.txt"), pose_text.encode()),
            (lens_file(folder, n), lens.encode()),
        ):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)


def bent_rays(seen: Camera) -> Array:
    """(height, width, 3) rays with z = 1 behind each pixel: the published formula, undone by fixed-point iteration."""
    k1, k2, p1, p2, k3 = DISTORTION
    v, u = np.mgrid[: seen.height, : seen.width]
    bent_x, bent_y = (u - seen.cx) / seen.fx, (v - seen.cy) / seen.fy
    x, y = bent_x, bent_y
    for _ in range(100):
        rr = x * x + y * y
        s = 1 + rr * k1 + rr**2 * k2 + rr**3 * k3
        x, y = (
            (bent_x - p2 * (rr + 2 * x * x) - 2 * p1 * x * y) / s,
            (bent_y - p1 * (rr + 2 * y * y) - 2 * p2 * x * y) / s,
        )
    return np.stack([x, y, np.ones_like(x)], axis=-1)


def taken(folder: Path, what: str, name: str) -> Path:
    bundle = f"matterport_{what}"
    return folder / bundle / folder.name / bundle / name


def lens_file(folder: Path, n: int) -> Path:
    return taken(folder, "camera_intrinsics", f"{_pano(n)}_intrinsics_{n % 3}.txt")


def conf_file(folder: Path) -> Path:
    return folder / "undistorted_camera_parameters" / f"{folder.name}.conf"


def color_file(folder: Path, n: int) -> Path:
    return folder / "undistorted_color_images" / f"{_pano(n)}_i{n % 3}_0.jpg"


def depth_file(folder: Path, n: int) -> Path:
    return folder / "undistorted_depth_images" / f"{_pano(n)}_d{n % 3}_0.png"
