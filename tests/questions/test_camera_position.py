"""The bearing of camera 2, by angles in the plan."""

from __future__ import annotations

from math import atan2, cos, degrees, hypot, radians

import numpy as np
import pytest

from hatch_data.motion import Motion
from hatch_data.questions import Rejection, camera_position
from tests.questions.asked import FakeGroup, asked

NAMES = ("front", "front-left", "left", "back-left", "back", "back-right", "right", "front-right")


def test_against_angles_in_the_plan():
    for one in asked("camera_position")[0]:
        first, second = one.pose(0), one.pose(1)
        east, north = second[:2, 3] - first[:2, 3]
        bearing = degrees(atan2(north, east) - atan2(first[1, 2], first[0, 2]))
        off = (bearing - 45 * NAMES.index(one.question.answer) + 180) % 360 - 180
        assert abs(off) <= 22.5 - 7.5 + 1e-9
        assert hypot(east, north) >= 0.3
        assert one.question.sentence.endswith(f" {one.question.answer}.")


@pytest.mark.parametrize(
    ("motion", "reason"),
    [
        (Motion(forward_m=0.2, left_m=0.2), "too_near"),
        (Motion(forward_m=0.5, up_m=-0.6), "mostly_vertical"),
        *((Motion(cos(radians(b)), cos(radians(b - 90))), "on_a_border") for b in (22.5, 16, 29, -67.5, 157.5, -160)),
    ],
)
def test_what_has_no_clear_answer_is_declined(motion, reason):
    group = FakeGroup(motion=lambda i, j: motion)
    assert camera_position.ask(group, np.random.default_rng(0)) == Rejection(reason)


def test_walks_are_declined_for_known_reasons():
    declined = asked("camera_position")[1]
    assert declined.keys() <= {"too_near", "mostly_vertical", "on_a_border"}
    assert declined["on_a_border"] > 0
