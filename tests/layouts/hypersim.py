"""Hypersim: two cameras, a tilt-shift lens, distances along rays with NaN, HDR colour, asset units, OpenGL axes."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from hatch_data.geometry import Array, Camera, rotation_from_heading_pitch_roll
from tests.layouts import room

LAYOUT = "hypersim"
#: The camera normal to the image plane; its principal point lies far from the middle, as a shifted lens has it.
COLOR = DEPTH = Camera(256, 192, 221.5, 221.25, 122.0, 134.0)
COLOR_FROM_DEPTH = np.eye(4)
METRES_PER_UNIT = 1e-6
METRES_PER_ASSET_UNIT = 0.0254
EXPOSURE = 37.0
#: The tilt: where the camera normal to the image plane stands in the scene's camera.
CV_FROM_PINHOLE = rotation_from_heading_pitch_roll(0.0, 0.0, 0.0, room.UP).T @ rotation_from_heading_pitch_roll(
    1.5, -4.0, 0.5, room.UP
)
GL_FROM_CV = np.diag([1.0, -1.0, -1.0])


def world(poses: dict[int, Array]) -> dict[int, Array]:
    return poses


def write(folder: Path, poses: dict[int, Array]) -> None:
    """The first half of the frames is `cam_00`'s, the other `cam_01`'s; numbers are every third."""
    (folder / "_detail").mkdir(parents=True)
    numbers = sorted(poses)
    for cam, part in (("cam_00", numbers[: len(poses) // 2]), ("cam_01", numbers[len(poses) // 2 :])):
        detail = folder / "_detail" / cam
        detail.mkdir()
        orientations = [poses[n][:3, :3] @ CV_FROM_PINHOLE.T @ GL_FROM_CV for n in part]
        store(detail / "camera_keyframe_orientations.hdf5", np.array(orientations))
        positions = np.array([poses[n][:3, 3] for n in part]) / METRES_PER_ASSET_UNIT
        store(detail / "camera_keyframe_positions.hdf5", positions)
        store(detail / "camera_keyframe_frame_indices.hdf5", np.array([3 * n for n in part]))
    for n, pose in poses.items():
        color, depth = room.render(COLOR, pose)
        store(color_file(folder, n), ((color / 255.0) ** 2.2 * EXPOSURE).astype(np.float16))
        store(depth_file(folder, n), np.where(depth > 0, depth * distance_per_depth(), np.nan).astype(np.float32))
    (folder / "_detail" / "metadata_scene.csv").write_text(
        f"parameter_name,parameter_value\nmeters_per_asset_unit,{METRES_PER_ASSET_UNIT}\n"
    )
    names = [f"M_cam_from_uv_{r}{c}" for r in range(3) for c in range(3)]
    values = (f"{v:.15g}" for v in rays_from_uv().ravel())
    (folder.parent / "metadata_camera_parameters.csv").write_text(
        f"scene_name,settings_output_img_width,settings_output_img_height,{','.join(names)}\n"
        f"ai_099_099,1024.0,768.0,{','.join(['0.5'] * 9)}\n"
        f"{folder.name},{COLOR.width}.0,{COLOR.height}.0,{','.join(values)}\n"
    )


def rays_from_uv() -> Array:
    """(3, 3) from (u, v, 1), -1 to 1 from the image's left and bottom edges, to rays in OpenGL axes."""
    pixel_from_uv = np.array(
        [
            [COLOR.width / 2, 0, COLOR.width / 2 - 0.5],
            [0, -COLOR.height / 2, COLOR.height / 2 - 0.5],
            [0, 0, 1],
        ]
    )
    return GL_FROM_CV @ CV_FROM_PINHOLE @ np.linalg.inv(COLOR.matrix) @ pixel_from_uv


def distance_per_depth() -> Array:
    v, u = np.mgrid[: COLOR.height, : COLOR.width]
    return np.linalg.norm(COLOR.unproject(np.stack([u, v], axis=-1), np.ones(u.shape)), axis=-1)


def store(file: Path, values: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as hdf5:
        hdf5["dataset"] = values


def frame_id(n: int, count: int = 12) -> str:
    return f"{_cam(n, count)}/{3 * n:04d}"


def _cam(n: int, count: int = 12) -> str:
    return "cam_00" if n < count // 2 else "cam_01"


def color_file(folder: Path, n: int) -> Path:
    return folder / "images" / f"scene_{_cam(n)}_final_hdf5" / f"frame.{3 * n:04d}.color.hdf5"


def depth_file(folder: Path, n: int) -> Path:
    return folder / "images" / f"scene_{_cam(n)}_geometry_hdf5" / f"frame.{3 * n:04d}.depth_meters.hdf5"
