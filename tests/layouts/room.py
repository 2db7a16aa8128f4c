"""The truth behind the layout tests: an empty box room of which every ray's hit is known in closed form."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from hatch_data.geometry import Array, Camera, rotation_from_heading_pitch_roll, transform

SIZE_M = np.array([5.0, 4.0, 2.6])  # x, y, z (up), with one corner at the origin
UP = np.array([0.0, 0.0, 1.0])
#: A block of pixels at the top left for which every layout stores "no depth".
HOLE = np.s_[:6, :6]


def render(camera: Camera, world_from_camera: Array) -> tuple[np.ndarray, Array]:
    """(height, width, 3) uint8 colour and (height, width) planar depth in metres, 0 within `HOLE`."""
    v, u = np.mgrid[: camera.height, : camera.width]
    return render_rays(camera.unproject(np.stack([u, v], axis=-1), np.ones(u.shape)), world_from_camera)


def render_rays(rays: Array, world_from_camera: Array) -> tuple[np.ndarray, Array]:
    """The same along rays (height, width, 3) of the camera frame with z = 1, of any lens."""
    rays = rays @ world_from_camera[:3, :3].T
    origin = world_from_camera[:3, 3]
    with np.errstate(divide="ignore"):
        depth = np.maximum(-origin / rays, (SIZE_M - origin) / rays).min(axis=-1)  # rays have camera z = 1
    points = origin + depth[..., None] * rays
    color = 127.5 + 120 * np.sin(points * [2.1, 3.3, 4.7] + [0.3, 1.1, 2.0])
    depth[HOLE] = 0
    return color.astype(np.uint8), depth


def distance_to_surface(points: Array) -> Array:
    """How far points (..., 3) of the world lie from the nearest wall, floor or ceiling, in metres."""
    return np.minimum(np.abs(points), np.abs(points - SIZE_M)).min(axis=-1)


def walk(count: int) -> dict[int, Array]:
    """World-from-camera by frame number: a turn through the room, held by hand but nearly level."""
    poses = {}
    for n in range(count):
        pose = np.eye(4)
        pose[:3, :3] = rotation_from_heading_pitch_roll(25 * n, -15 + 6 * np.sin(n), 3 * np.cos(2 * n), UP)
        pose[:3, 3] = 2.5 + 0.8 * np.cos(n / 2), 2 + 0.7 * np.sin(n / 2), 1.4 + 0.05 * np.sin(n)
        poses[n] = pose
    return poses


def in_frame_of(first: Array, poses: dict[int, Array]) -> dict[int, Array]:
    """The same walk in a world that is the camera `first`."""
    return {n: np.linalg.inv(first) @ pose for n, pose in poses.items()}


def lifted(sensor_camera: Camera, world_from_depth: Array, depth: Array) -> Array:
    """World points (N, 3) of a depth image."""
    v, u = np.nonzero(depth)
    return transform(world_from_depth, sensor_camera.unproject(np.stack([u, v], axis=-1), depth[v, u]))


def jpeg(color: np.ndarray) -> bytes:
    """Encoded at high quality."""
    return _encoded(color, "JPEG", quality=92)


def png(image: np.ndarray) -> bytes:
    """Encoded quickly."""
    return _encoded(image, "PNG", compress_level=1)


def depth_png(depth: Array, units_per_metre: float, none: int = 0) -> bytes:
    """Metres as 16-bit units, `none` where there is no depth."""
    units = np.round(depth * units_per_metre)
    return png(np.where(depth > 0, units, none).astype(np.uint16))


def matrix_text(matrix: Array) -> str:
    """Rows of eight decimals, as the public data sets have them."""
    return "\n".join(" ".join(f"{value:.8f}" for value in row) for row in matrix) + "\n"


def intrinsic_4x4(camera: Camera) -> Array:
    """The intrinsic matrix as ScanNet and its kin write it."""
    k = np.eye(4)
    k[:3, :3] = camera.matrix
    return k


def _encoded(image: np.ndarray, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()
