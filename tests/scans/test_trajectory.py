"""Poses between those that are known."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from hatch_data.geometry import is_rigid
from hatch_data.scans.trajectory import Trajectory, pose_from_quaternion
from tests.layouts import room

STAMPS_S = np.array([0.0, 0.1, 0.2, 0.5, 0.6])
POSES = np.array([room.walk(5)[n] for n in range(5)])
PATH = Trajectory.of(STAMPS_S[::-1], POSES[::-1], nearest_s=0.005, gap_s=0.21)


@given(st.floats(-0.1, 0.7))
def test_known_near_interpolated_or_unknown(stamp_s: float) -> None:
    (pose,) = PATH.at(np.array([stamp_s]))
    off = np.abs(STAMPS_S - stamp_s)
    if off.min() < 0.005:
        assert pose is not None and np.allclose(pose, POSES[off.argmin()], atol=1e-12)
    elif stamp_s < 0 or stamp_s > 0.6 or 0.2 < stamp_s < 0.5:
        assert pose is None
    else:
        assert pose is not None and is_rigid(pose, 1e-9)
        turned = Slerp(STAMPS_S, Rotation.from_matrix(POSES[:, :3, :3]))(stamp_s).as_matrix()
        assert np.allclose(pose[:3, :3], turned, atol=1e-9)
        moved = [np.interp(stamp_s, STAMPS_S, POSES[:, axis, 3]) for axis in range(3)]
        assert np.allclose(pose[:3, 3], moved, atol=1e-12)


def test_poses_that_are_none_are_left_out() -> None:
    spoiled = POSES.copy()
    spoiled[1] = np.nan
    spoiled[2] = 0
    path = Trajectory.of(STAMPS_S, spoiled, nearest_s=0.005, gap_s=0.21)
    assert [pose is None for pose in path.at(STAMPS_S)] == [False, True, True, False, False]
    assert Trajectory.of(STAMPS_S[:0], POSES[:0], 0.005, 0.21).at(STAMPS_S) == [None] * 5


def test_quaternions_never_set() -> None:
    assert np.isnan(pose_from_quaternion(np.array([0, 0, np.nan, 1]), np.zeros(3))).all()
    assert np.isnan(pose_from_quaternion(np.array([0, 0, 1e308, 1]), np.zeros(3))).all()
    assert not pose_from_quaternion(np.zeros(4), np.ones(3)).any()
    assert not pose_from_quaternion(np.array([0, 0, 1e-308, 0]), np.ones(3)).any()
    assert np.array_equal(pose_from_quaternion(np.array([0.0, 0, 0, 1]), np.zeros(3)), np.eye(4))
