"""Where a camera was at a moment between those at which it is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from hatch_data.geometry import Array


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
        good = np.isfinite(poses).all(axis=(1, 2)) & (np.abs(np.linalg.det(poses[:, :3, :3]) - 1) < 1e-3)
        known, first = np.unique(stamps_s[good], return_index=True)
        chosen = poses[good][first]
        return cls(known, chosen[:, :3, 3], Rotation.from_matrix(chosen[:, :3, :3]), nearest_s, gap_s)

    def at(self, stamp_s: float) -> Array | None:
        """(4, 4), None where the camera's place is not known."""
        if not len(self.stamps_s):
            return None
        after = int(np.searchsorted(self.stamps_s, stamp_s))
        nearest = min(
            (i for i in (after - 1, after) if 0 <= i < len(self.stamps_s)), key=lambda i: self._off(i, stamp_s)
        )
        if self._off(nearest, stamp_s) < self.nearest_s:
            return pose_of(self.rotations[nearest], self.positions[nearest])
        if not 0 < after < len(self.stamps_s) or self.stamps_s[after] - self.stamps_s[after - 1] > self.gap_s:
            return None
        pair = slice(after - 1, after + 1)
        share = (stamp_s - self.stamps_s[after - 1]) / np.ptp(self.stamps_s[pair])
        position = (1 - share) * self.positions[after - 1] + share * self.positions[after]
        return pose_of(Slerp([0.0, 1.0], self.rotations[pair])(share), position)

    def _off(self, index: int, stamp_s: float) -> float:
        return abs(float(self.stamps_s[index]) - stamp_s)


def pose_of(rotation: Rotation, position: Array) -> Array:
    """(4, 4) world-from-camera."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.as_matrix(), position
    return pose


def pose_from_quaternion(quaternion: Array, position: Array) -> Array:
    """(4, 4) from x y z w and x y z: all NaN where a number is not finite, all zero where the quaternion is."""
    if not (np.isfinite(quaternion).all() and np.isfinite(position).all()):
        return np.full((4, 4), np.nan)
    if not np.any(quaternion):
        return np.zeros((4, 4))
    return pose_of(Rotation.from_quat(quaternion), position)
