"""Which way is up, where a layout does not say: from how people hold cameras, and from the planes of a room.

Hands keep a camera level: its x axis stays horizontal while it turns, so up is the direction most orthogonal to all x
axes, on the side of the images' tops. That is good to some degrees. Floors, tables and ceilings, and walls at right
angles to them, then pull it to the nearest direction that explains surface normals.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hatch_data.errors import FrameError
from hatch_data.geometry import Array, unit
from hatch_data.scene import Frame

#: Depth is decoded for this many frames, spread over the scan, at one pixel in STRIDE each way.
DEPTH_FRAMES, STRIDE = 8, 8
#: Angles within which a normal counts as vertical or horizontal, in degrees, round after round.
GATES_DEG = (25.0, 15.0, 8.0, 4.0, 4.0)
#: x axes that spread less than this (second eigenvalue of their mean outer product) do not single out one direction.
LEAST_SPREAD = 0.02
#: Neighbouring samples further apart than this share of their depth lie on two surfaces.
SURFACE_STEP = 0.1


def estimate_up(frames: Sequence[Frame]) -> Array:
    """Unit vector (3,) in the world frame."""
    up = up_from_level_cameras(np.array([frame.world_from_camera[:3, :3] for frame in frames]))
    chosen = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, DEPTH_FRAMES).round().astype(int))]
    normals = np.concatenate([_world_normals(frame) for frame in chosen])
    for gate_deg in GATES_DEG:
        sines = np.abs(normals @ up)
        vertical = normals[sines > np.cos(np.radians(gate_deg))]
        horizontal = normals[sines < np.sin(np.radians(gate_deg))]
        if not len(vertical):
            break
        axis = np.linalg.eigh(vertical.T @ vertical - horizontal.T @ horizontal)[1][:, -1]
        up = axis * np.sign(axis @ up)
    return unit(up)


def up_from_level_cameras(world_from_camera: Array) -> Array:
    """From rotations (N, 3, 3)."""
    tops = unit(-world_from_camera[:, :, 1].mean(axis=0))
    x_axes = world_from_camera[:, :, 0]
    values, vectors = np.linalg.eigh(x_axes.T @ x_axes / len(x_axes))
    if values[1] < LEAST_SPREAD:
        return tops
    return vectors[:, 0] * np.sign(vectors[:, 0] @ tops)


def _world_normals(frame: Frame) -> Array:
    """Unit surface normals (M, 3) of a frame's depth, in the world frame; none where it cannot be read.

    The build meets an unreadable depth image again and counts it; here it only tells nothing about gravity.
    """
    try:
        depth = frame.depth().metres[::STRIDE, ::STRIDE].astype(np.float64)
    except FrameError:
        return np.empty((0, 3))
    rows, columns = np.mgrid[: depth.shape[0], : depth.shape[1]] * STRIDE
    points = frame.sensor.camera.unproject(np.stack([columns, rows], axis=-1), depth)
    across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
    centre = depth[1:-1, 1:-1]
    one_surface = centre > 0
    for neighbour in (depth[1:-1, 2:], depth[1:-1, :-2], depth[2:, 1:-1], depth[:-2, 1:-1]):
        one_surface &= (neighbour > 0) & (np.abs(neighbour - centre) < SURFACE_STEP * centre)
    normals = np.cross(across, down)[one_surface]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    world_from_depth = frame.world_from_camera[:3, :3] @ frame.sensor.color_from_depth[:3, :3]
    return normals @ world_from_depth.T
