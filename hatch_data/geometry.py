"""Rigid transforms named `a_from_b`, pinhole cameras, and the gravity-levelled frame of a camera.

Conventions, here and everywhere: camera axes x right, y down, z forward (OpenCV); metres; depth is planar z;
the centre of the top-left pixel is (0, 0); poses are `world_from_camera`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

#: No image has a longer side: sizes beyond it are broken numbers, for which no memory suffices.
LONGEST_SIDE_PX = 1 << 15


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: size in pixels, focal lengths and principal point in pixels (pixel centres at integers)."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    @property
    def matrix(self) -> Array:
        """(3, 3) intrinsic matrix K."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def sound(self) -> bool:
        """Whether a lens can be like this: a size that images have, numbers that are finite, a field of view of 0.6 to
        178 degrees, and an axis no further than ten images from its own."""
        side = max(self.width, self.height)
        if min(self.width, self.height) < 1 or side > LONGEST_SIDE_PX:
            return False
        focal = all(0.01 * side <= f <= 100 * side for f in (self.fx, self.fy))
        return focal and all(abs(c) <= 10 * side for c in (self.cx, self.cy))

    def resized(self, width: int, height: int) -> Camera:
        """The same camera behind an image resampled to `width` x `height`, edges of the image held in place."""
        sx, sy = width / self.width, height / self.height
        return Camera(width, height, self.fx * sx, self.fy * sy, (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5)

    def project(self, points: Array) -> tuple[Array, Array]:
        """Points (..., 3) in the camera frame -> pixels (..., 2) and planar depth (...). Depth <= 0 is behind."""
        points = np.asarray(points, dtype=np.float64)
        z = points[..., 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            u = self.fx * points[..., 0] / z + self.cx
            v = self.fy * points[..., 1] / z + self.cy
        return np.stack([u, v], axis=-1), z

    def unproject(self, pixels: NDArray, depth: NDArray) -> Array:
        """Pixels (..., 2) and planar depth (...) in metres -> points (..., 3) in the camera frame."""
        pixels = np.asarray(pixels, dtype=np.float64)
        x = (pixels[..., 0] - self.cx) / self.fx
        y = (pixels[..., 1] - self.cy) / self.fy
        return np.stack([x, y, np.ones_like(x)], axis=-1) * np.asarray(depth, dtype=np.float64)[..., None]


def rigid(rotation: Array, translation: ArrayLike) -> Array:
    """(4, 4) transform of a rotation (3, 3) and a translation (3,)."""
    a_from_b = np.eye(4)
    a_from_b[:3, :3], a_from_b[:3, 3] = rotation, translation
    return a_from_b


def inverse(a_from_b: Array) -> Array:
    """`b_from_a` of a rigid (4, 4) transform."""
    rotation = a_from_b[:3, :3]
    return rigid(rotation.T, -rotation.T @ a_from_b[:3, 3])


def transform(a_from_b: Array, points_b: Array) -> Array:
    """Points (..., 3) in frame b -> the same points in frame a."""
    return points_b @ a_from_b[:3, :3].T + a_from_b[:3, 3]


def is_rigid(a_from_b: Array, tolerance: float = 1e-3) -> bool:
    """Whether (4, 4) holds finite numbers, an orthonormal right-handed rotation and the row (0, 0, 0, 1)."""
    matrix = np.asarray(a_from_b, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        return False
    rotation = matrix[:3, :3]
    return bool(
        np.abs(rotation @ rotation.T - np.eye(3)).max() < tolerance
        and np.linalg.det(rotation) > 0
        and np.abs(matrix[3] - (0, 0, 0, 1)).max() < tolerance
    )


def nearest_rigid(a_from_b: Array) -> Array:
    """The rigid transform closest to a nearly rigid one: rounding in text files leaves rotations 1e-6 off."""
    u, _, vt = np.linalg.svd(a_from_b[:3, :3])
    return rigid(u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt, a_from_b[:3, 3])


def unit(vector: Array) -> Array:
    """The vector of length one in the same direction."""
    vector = np.asarray(vector, dtype=np.float64)
    return vector / np.linalg.norm(vector)


def horizontal_axes(up: Array) -> tuple[Array, Array]:
    """Two unit vectors (e1, e2) with e1 x e2 = up: the reference against which headings are measured."""
    up = unit(up)
    least = np.eye(3)[int(np.argmin(np.abs(up)))]
    e1 = unit(cross(least, up))
    return e1, cross(up, e1)


def cross(a: Array, b: Array) -> Array:
    """a x b of two vectors (3,): `np.cross` takes ten times as long over vectors this short."""
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


#: An optical axis closer to the vertical than this (sine of the angle) has no heading of its own.
VERTICAL_AXIS_SINE = 1e-6


def heading_pitch_roll(world_from_camera: Array, up: Array) -> tuple[float, float, float]:
    """Orientation of a camera against gravity, in degrees.

    heading: of the optical axis about `up`, counter-clockwise from above, measured from `horizontal_axes(up)[0]`;
    pitch: of the optical axis above the horizon, in [-90, 90]; roll: counter-clockwise as the camera's own
    observer sees the head tilt. An optical axis along +-up has no heading: roll is then 0 by definition and the
    heading is that of the image's top edge (looking down) or bottom edge (looking up), the limit of a level head.
    """
    rotation = world_from_camera[:3, :3]
    up = unit(up)
    e1, e2 = horizontal_axes(up)
    right, image_up, forward = rotation[:, 0], -rotation[:, 1], rotation[:, 2]
    sine = float(np.clip(forward @ up, -1.0, 1.0))
    level = forward - sine * up
    cosine = float(np.linalg.norm(level))
    pitch = float(np.degrees(np.arctan2(sine, cosine)))
    if cosine < VERTICAL_AXIS_SINE:
        level = -np.sign(sine) * image_up
        heading = np.arctan2(level @ e2, level @ e1)
        return float(np.degrees(heading)), float(np.copysign(90.0, sine)), 0.0
    heading = np.arctan2(level @ e2, level @ e1)
    level_right = cross(level / cosine, up)
    level_up = cross(level_right, forward)
    roll = np.arctan2(right @ level_up, right @ level_right)
    return float(np.degrees(heading)), pitch, float(np.degrees(roll))


def rotation_from_heading_pitch_roll(heading: float, pitch: float, roll: float, up: Array) -> Array:
    """(3, 3) world-from-camera rotation with the given angles in degrees: the inverse of `heading_pitch_roll`."""
    up = unit(up)
    e1, e2 = horizontal_axes(up)
    h, p, r = np.radians([heading, pitch, roll])
    level_forward = np.cos(h) * e1 + np.sin(h) * e2
    level_right = cross(level_forward, up)
    forward = np.cos(p) * level_forward + np.sin(p) * up
    level_up = cross(level_right, forward)
    right = np.cos(r) * level_right + np.sin(r) * level_up
    image_up = np.cos(r) * level_up - np.sin(r) * level_right
    return np.stack([right, -image_up, forward], axis=1)
