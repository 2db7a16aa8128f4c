"""Action lists, by dead reckoning."""

from __future__ import annotations

import re
from math import atan2, cos, degrees, radians, sin

import numpy as np

from hatch_data.questions import Rejection, camera_motion
from tests.questions.asked import FakeGroup, asked


def test_against_dead_reckoning():
    """A camera at (0, 0, 0) that heads along x does what the text says; it ends where camera 2 stands, in plan."""
    for one in asked("camera_motion")[0]:
        x, y, z, heading, pitch, roll = (0.0,) * 6
        for verb, way, number in re.findall(r"(move|turn|roll)_(\w+) ([\d.]+)(?:m|deg)", one.question.answer):
            value = float(number) * (-1 if way in ("backward", "right", "down") else 1)
            if verb == "move" and way in ("up", "down"):
                z += value
            elif verb == "move":
                aside = 90 if way in ("left", "right") else 0
                x += value * cos(radians(heading + aside))
                y += value * sin(radians(heading + aside))
            elif verb == "roll":
                roll += value
            elif way in ("up", "down"):
                pitch += value
            else:
                heading += value
        first, second = one.pose(0), one.pose(1)
        start, end = orientation(first), orientation(second)
        c, s = cos(radians(start[0])), sin(radians(start[0]))
        moved = second[:3, 3] - first[:3, 3]
        assert np.abs(np.array([[c, s], [-s, c]]) @ moved[:2] - (x, y)).max() <= 0.05 + 1e-6
        assert abs(moved[2] - z) <= 0.05 + 1e-6
        for told, before, after in zip((heading, pitch, roll), start, end, strict=True):
            assert abs((after - before - told + 180) % 360 - 180) <= 2.5 + 1e-6


def orientation(world_from_camera: np.ndarray) -> tuple[float, float, float]:
    """Heading, pitch and roll in degrees in a world whose z is up: roll counter-clockwise as the observer sees it."""
    right, down, forward = world_from_camera[:3, :3].T
    heading = degrees(atan2(forward[1], forward[0]))
    return heading, degrees(np.arcsin(forward[2])), degrees(atan2(right[2], -down[2]))


def test_views_that_do_not_differ_are_declined():
    still = FakeGroup(actions=lambda i, j: ())
    assert camera_motion.ask(still, np.random.default_rng(0)) == Rejection("no_motion")


def test_it_is_said_in_several_ways():
    assert len({one.question.text for one in asked("camera_motion")[0]}) == len(camera_motion.PHRASINGS)
