"""Where a camera was at a moment between those at which it is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from hatch_data.geometry import Array, is_rigid


@dataclass(frozen=True)
class Trajectory:
    """`stamps_s` (n,) rising, `positions` (n, 3) metres and `rotations` (n), all world-from-camera.

    A pose nearer in time than `nearest_s` holds as it is; else it is interpolated between neighbours no further apart
    than `gap_s`.
    """

    stamps_s: Array
    positions: Array
    rotations: Rotation
    nearest_s: float
    gap_s: float

    @classmethod
    def of(cls, stamps_s: Array, poses: Array, nearest_s: float, gap_s: float) -> Trajectory:
        """From poses (n, 4, 4) in any order; those that are no rigid transforms are left out."""
        good = np.array([is_rigid(pose) for pose in poses], bool)
        known, first = np.unique(stamps_s[good], return_index=True)
        chosen = poses[good][first]
        return cls(known, chosen[:, :3, 3], Rotation.from_matrix(chosen[:, :3, :3]), nearest_s, gap_s)

    def at(self, stamps_s: Array) -> list[Array | None]:
        """(4, 4) at each of the stamps, None where the camera's place is not known."""
        last = len(self.stamps_s) - 1
        if last < 0:
            return [None] * len(stamps_s)
        right = np.searchsorted(self.stamps_s, stamps_s)
        a, b = (right - 1).clip(min=0), right.clip(max=last)
        from_a, to_b = np.abs(stamps_s - self.stamps_s[a]), np.abs(self.stamps_s[b] - stamps_s)
        near = np.minimum(from_a, to_b) < self.nearest_s
        apart = self.stamps_s[b] - self.stamps_s[a]
        between = (a < b) & (apart <= self.gap_s)
        share = np.where(near, from_a > to_b, from_a / np.where(apart > 0, apart, 1.0))[:, None]
        turn = (self.rotations[a].inv() * self.rotations[b]).as_rotvec()
        poses = np.tile(np.eye(4), (len(stamps_s), 1, 1))
        poses[:, :3, :3] = (self.rotations[a] * Rotation.from_rotvec(share * turn)).as_matrix()
        poses[:, :3, 3] = (1 - share) * self.positions[a] + share * self.positions[b]
        return [pose if known else None for pose, known in zip(poses, near | between, strict=True)]


def pose_of(rotation: Rotation, position: Array) -> Array:
    """(4, 4) world-from-camera."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.as_matrix(), position
    return pose


def pose_from_quaternion(quaternion: Array, position: Array) -> Array:
    """(4, 4) from x y z w and x y z: all NaN where a number, or the norm, is not finite, all zero where the norm is."""
    with np.errstate(over="ignore"):
        norm = np.linalg.norm(quaternion)
    if not (np.isfinite(norm) and np.isfinite(position).all()):
        return np.full((4, 4), np.nan)
    if norm == 0:
        return np.zeros((4, 4))
    return pose_of(Rotation.from_quat(quaternion), position)
