"""The motion between two views, exact, in the gravity-levelled heading frame of the first.

In such frames motions compose like planar rigid motions; height, pitch and roll ride along and simply add.
`hatch_data.actions` says a motion in whole steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, radians, sin

import numpy as np

from hatch_data.geometry import (
    Array,
    heading_pitch_roll,
    horizontal_axes,
    rigid,
    rotation_from_heading_pitch_roll,
    unit,
)


@dataclass(frozen=True)
class Motion:
    """From view i to view j: translation in i's gravity-levelled heading frame; j's angles less those of i.

    Left, up, turning left, looking up and rolling left (counter-clockwise as the observer sees the head tilt)
    are positive.
    """

    forward_m: float = 0.0
    left_m: float = 0.0
    up_m: float = 0.0
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0


def wrap_degrees(angle: float) -> float:
    """The same angle in (-180, 180]."""
    return angle - 360.0 * ceil((angle - 180.0) / 360.0)


def stance(world_from_camera: Array, up: Array) -> Motion:
    """The motion that leads to a pose from the world's origin, level, with heading 0 (`geometry.horizontal_axes`)."""
    heading, pitch, roll = heading_pitch_roll(world_from_camera, up)
    forward, left, upward = (_levelled_axes(0.0, up) @ world_from_camera[:3, 3]).tolist()
    return Motion(forward, left, upward, heading, pitch, roll)


def motion_between(world_from_i: Array, world_from_j: Array, up: Array) -> Motion:
    """The motion that leads from pose i to pose j, (4, 4) each, against the unit vector `up` (3,)."""
    return between(stance(world_from_i, up), stance(world_from_j, up))


def between(stance_i: Motion, stance_j: Motion) -> Motion:
    """The motion that leads from one stance to another: for many pairs of few poses."""
    return compose(invert(stance_i), stance_j)


def apply(world_from_i: Array, motion: Motion, up: Array) -> Array:
    """The (4, 4) pose in which `motion` ends when it starts from `world_from_i`.

    A pitch beyond the vertical stops there: no camera has one, so a rounded turn that would pass it only
    comes nearer to the truth by stopping.
    """
    heading, pitch, roll = heading_pitch_roll(world_from_i, up)
    pitch = min(max(pitch + motion.pitch_deg, -90.0), 90.0)
    translation = np.array([motion.forward_m, motion.left_m, motion.up_m])
    return rigid(
        rotation_from_heading_pitch_roll(heading + motion.yaw_deg, pitch, roll + motion.roll_deg, up),
        world_from_i[:3, 3] + translation @ _levelled_axes(heading, up),
    )


def compose(i_to_j: Motion, j_to_k: Motion) -> Motion:
    """The motion from i to k: the second motion is said in the heading that the first ends in."""
    yaw = radians(i_to_j.yaw_deg)
    return Motion(
        i_to_j.forward_m + cos(yaw) * j_to_k.forward_m - sin(yaw) * j_to_k.left_m,
        i_to_j.left_m + sin(yaw) * j_to_k.forward_m + cos(yaw) * j_to_k.left_m,
        i_to_j.up_m + j_to_k.up_m,
        wrap_degrees(i_to_j.yaw_deg + j_to_k.yaw_deg),
        i_to_j.pitch_deg + j_to_k.pitch_deg,
        wrap_degrees(i_to_j.roll_deg + j_to_k.roll_deg),
    )


def invert(i_to_j: Motion) -> Motion:
    """The motion from j back to i."""
    yaw = radians(i_to_j.yaw_deg)
    return Motion(
        -cos(yaw) * i_to_j.forward_m - sin(yaw) * i_to_j.left_m,
        sin(yaw) * i_to_j.forward_m - cos(yaw) * i_to_j.left_m,
        -i_to_j.up_m,
        wrap_degrees(-i_to_j.yaw_deg),
        -i_to_j.pitch_deg,
        wrap_degrees(-i_to_j.roll_deg),
    )


def _levelled_axes(heading_deg: float, up: Array) -> Array:
    """(3, 3): rows forward, left, up of the gravity-levelled frame with this heading, in the world."""
    e1, e2 = horizontal_axes(up)
    c, s = cos(radians(heading_deg)), sin(radians(heading_deg))
    return np.stack([c * e1 + s * e2, c * e2 - s * e1, unit(up)])
