"""ScanNet .sens: float32 matrices, zlib depth, lost poses, and something behind the last frame (its IMU records)."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from hatch_data.geometry import Array, Camera
from tests.layouts import room

LAYOUT = "scannet-sens"
COLOR = Camera(324, 242, 292.5, 292.75, 161.5, 120.75)
DEPTH = Camera(160, 120, 144.25, 144.5, 79.5, 59.75)
COLOR_FROM_DEPTH = np.eye(4)
COLOR_FROM_DEPTH[:3, 3] = -0.03125, 0.0, 0.015625
#: The colour extrinsic: the rig is neither camera's.
RIG_FROM_COLOR = np.eye(4)
RIG_FROM_COLOR[:3, 3] = 0.0078125, 0.03125, -0.0625
METRES_PER_UNIT = 1e-3
JPEG, ZLIB = 2, 1


def world(poses: dict[int, Array]) -> dict[int, Array]:
    return poses


def write(folder: Path, poses: dict[int, Array]) -> None:
    folder.mkdir(parents=True)
    with sens_file(folder).open("wb") as file:
        file.write(header(COLOR, DEPTH, len(poses), RIG_FROM_COLOR, RIG_FROM_COLOR @ COLOR_FROM_DEPTH))
        for n, pose in poses.items():
            color = room.jpeg(room.render(COLOR, pose)[0])
            file.write(record(pose, color, depth_blob(room.render(DEPTH, pose @ COLOR_FROM_DEPTH)[1]), n))
        file.write(struct.pack("<Q", 1) + bytes(80))


def header(
    color: Camera, depth: Camera, frames: int, color_extrinsic: Array, depth_extrinsic: Array, shift: float = 1000.0
) -> bytes:
    name = b"StructureSensor"
    matrices = [room.intrinsic_4x4(color), color_extrinsic, room.intrinsic_4x4(depth), depth_extrinsic]
    return (
        struct.pack("<IQ", 4, len(name))
        + name
        + b"".join(m.astype("<f4").tobytes() for m in matrices)
        + struct.pack("<ii4IfQ", JPEG, ZLIB, color.width, color.height, depth.width, depth.height, shift, frames)
    )


def record(pose: Array, color: bytes, depth: bytes, n: int) -> bytes:
    stamp = 33333 * n
    sizes = struct.pack("<4Q", stamp, stamp + 9, len(color), len(depth))
    return pose.astype("<f4").tobytes() + sizes + color + depth


def depth_blob(depth_m: Array) -> bytes:
    return zlib.compress(np.round(depth_m * 1000).astype("<u2").tobytes(), 1)


def frame_id(n: int) -> str:
    return str(n)


def sens_file(folder: Path) -> Path:
    return folder / f"{folder.name}.sens"


def set_pose(folder: Path, n: int, matrix: Array) -> None:
    _overwrite(folder, records(folder)[n][0], matrix.astype("<f4").tobytes())


def spoil(folder: Path, n: int, part: str) -> None:
    """Put noise over one image, from its middle to its end."""
    _, color, depth, end = records(folder)[n]
    start, stop = (color, depth) if part == "color" else (depth, end)
    middle = (start + stop) // 2
    _overwrite(folder, middle, bytes([7]) * (stop - middle))


def records(folder: Path) -> list[tuple[int, int, int, int]]:
    """Where each frame's record, colour and depth begin, and where its depth ends."""
    data = sens_file(folder).read_bytes()
    at = len(header(COLOR, DEPTH, 0, np.eye(4), np.eye(4)))
    found = []
    for _ in range(struct.unpack_from("<Q", data, at - 8)[0]):
        color_bytes, depth_bytes = struct.unpack_from("<2Q", data, at + 80)
        found.append((at, at + 96, at + 96 + color_bytes, at + 96 + color_bytes + depth_bytes))
        at = found[-1][-1]
    return found


def _overwrite(folder: Path, at: int, data: bytes) -> None:
    with sens_file(folder).open("r+b") as file:
        file.seek(at)
        file.write(data)
