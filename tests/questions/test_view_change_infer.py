"""The change of view in SPAR's format, by dead reckoning."""

from __future__ import annotations

from math import asin, atan2, cos, degrees, sin

import numpy as np
import pytest

from hatch_data.motion import Motion
from hatch_data.questions import Rejection, view_change_infer
from tests.questions.asked import FakeGroup, asked

#: Keys that SPAR-Bench's scorer knows: the first of each pair is taken as positive.
AXES = (
    ("move_right", "move_left"),
    ("move_up", "move_down"),
    ("move_forward", "move_backward"),
    ("rotate_right", "rotate_left"),
    ("rotate_up", "rotate_down"),
)


def numbers(answer: str) -> list[float]:
    """As the benchmark's scorer reads an answer: five signed numbers."""
    told = {key: float(value) for key, value in (item.split(":") for item in answer.split(","))}
    assert len(told) == 5
    assert told.keys() <= {key for pair in AXES for key in pair}
    return [told.get(positive, 0) - told.get(negative, 0) for positive, negative in AXES]


def test_against_dead_reckoning():
    for one in asked("view_change_infer")[0]:
        right, up, forward, yaw_right, pitch_up = numbers(one.question.answer)
        first, second = one.pose(0), one.pose(1)
        heading = atan2(first[1, 2], first[0, 2])
        moved = second[:3, 3] - first[:3, 3]
        ahead = forward * np.array([cos(heading), sin(heading)]) + right * np.array([sin(heading), -cos(heading)])
        assert np.abs(ahead - moved[:2]).max() <= 0.05 * 2**0.5 + 1e-6
        assert abs(moved[2] - up) <= 0.05 + 1e-6
        turned = degrees(heading - atan2(second[1, 2], second[0, 2]))
        assert abs((turned - yaw_right + 180) % 360 - 180) <= 0.5 + 1e-6
        pitched = degrees(asin(second[2, 2]) - asin(first[2, 2]))
        assert abs(pitched - pitch_up) <= 0.5 + 1e-6


def test_sentences_say_the_same():
    for one in asked("view_change_infer")[0]:
        for item in one.question.answer.split(","):
            way, value = item.split("_")[1].split(":")
            unit = "m" if item.startswith("move") else "degrees"
            assert f"{value} {unit}" in one.question.sentence
            assert way in one.question.sentence


def test_what_rounds_to_nothing_has_one_sign():
    answer = view_change_infer.as_format(Motion(left_m=0.04, up_m=-0.04, forward_m=1.0, yaw_deg=-0.4, pitch_deg=20))
    assert answer == "move_right:0.0,move_down:0.0,move_forward:1.0,rotate_up:20,rotate_right:0"


@pytest.mark.parametrize(
    ("motion", "reason"),
    [
        (Motion(forward_m=2.0, roll_deg=-8.0), "rolled"),
        (Motion(forward_m=0.2, left_m=-0.2, yaw_deg=10.0), "no_motion"),
    ],
)
def test_what_has_no_clear_answer_is_declined(motion, reason):
    group = FakeGroup(motion=lambda i, j: motion)
    assert view_change_infer.ask(group, np.random.default_rng(0)) == Rejection(reason)
