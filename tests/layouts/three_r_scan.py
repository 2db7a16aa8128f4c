"""3RScan: phones held upright whose images lie on their side, big-endian PGM, `_info.txt`; as folder or archive."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np

from hatch_data.geometry import Array, Camera
from tests.layouts import room

LAYOUT = "3rscan"
#: The cameras once their images are turned upright.
COLOR = Camera(162, 288, 226.5, 226.25, 80.75, 144.5)
DEPTH = Camera(86, 112, 88.5, 88.25, 42.75, 55.5)
COLOR_FROM_DEPTH = np.eye(4)
METRES_PER_UNIT = 1e-3
#: Stored images are the upright ones turned counter-clockwise: their right is the upright top.
UPRIGHT_FROM_STORED = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]).T


def stored(camera: Camera) -> Camera:
    """The camera as its images lie on disk."""
    return Camera(camera.height, camera.width, camera.fy, camera.fx, camera.cy, camera.width - 1 - camera.cx)


def world(poses: dict[int, Array]) -> dict[int, Array]:
    return poses


def write(folder: Path, poses: dict[int, Array]) -> None:
    sequence = folder / "sequence"
    sequence.mkdir(parents=True)
    for n, pose in poses.items():
        color_file(folder, n).write_bytes(room.jpeg(np.rot90(room.render(COLOR, pose)[0])))
        depth_file(folder, n).write_bytes(pgm(np.rot90(room.render(DEPTH, pose)[1])))
        pose_file(folder, n).write_text(room.matrix_text(pose @ UPRIGHT_FROM_STORED))
    lines = ["m_versionNumber = 4", "m_sensorName = Tango", "m_depthShift = 1000"]
    for what, camera in (("Color", stored(COLOR)), ("Depth", stored(DEPTH))):
        numbers = " ".join(f"{value:.6f}" for value in room.intrinsic_4x4(camera).ravel())
        identity = " ".join(f"{value:g}" for value in np.eye(4).ravel())
        lines += [
            f"m_{what.lower()}Width = {camera.width}",
            f"m_{what.lower()}Height = {camera.height}",
            f"m_calibration{what}Intrinsic = {numbers} ",
            f"m_calibration{what}Extrinsic = {identity} ",
        ]
    (sequence / "_info.txt").write_text("\n".join([*lines, f"m_frames.size = {len(poses)}", ""]))


def zip_sequence(folder: Path) -> Path:
    """Put the sequence into its archive, compressed, and remove the folder."""
    archive = folder / "sequence.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for entry in (folder / "sequence").iterdir():
            file.write(entry, entry.name)
    shutil.rmtree(folder / "sequence")
    return archive


def pgm(depth_m: Array) -> bytes:
    height, width = depth_m.shape
    return f"P5\n{width} {height}\n65535\n".encode() + np.round(depth_m * 1000).astype(">u2").tobytes()


def frame_id(n: int) -> str:
    return f"frame-{n:06d}"


def color_file(folder: Path, n: int) -> Path:
    return folder / "sequence" / f"frame-{n:06d}.color.jpg"


def depth_file(folder: Path, n: int) -> Path:
    return folder / "sequence" / f"frame-{n:06d}.depth.pgm"


def pose_file(folder: Path, n: int) -> Path:
    return folder / "sequence" / f"frame-{n:06d}.pose.txt"
