"""Signed turns, by headings in the plan."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hatch_data.motion import Motion
from hatch_data.questions import Rejection, camera_turn
from tests.questions.asked import FakeGroup, asked
from tests.questions.plan import orientation, wrapped


def test_against_headings():
    for one in asked("camera_turn")[0]:
        degrees, side = re.fullmatch(r"(\d+) degrees to the (left|right)", one.question.answer).groups()
        turned = wrapped(orientation(one.pose(1))[0] - orientation(one.pose(0))[0])
        assert abs(int(degrees) * (1 if side == "left" else -1) - turned) <= 2.5 + 1e-9
        assert one.question.sentence == f"From image 1 to image 2 the camera turned {one.question.answer}."
        assert one.question.place == pytest.approx((turned / 15,))


@pytest.mark.parametrize(
    ("yaw", "pitch", "reason"),
    [(9.0, 0, "small_turn"), (-9.0, 0, "small_turn"), (-170.0, 0, "near_half_turn"), (40.0, 61, "looks_steeply")],
)
def test_what_has_no_clear_answer_is_declined(yaw, pitch, reason):
    group = FakeGroup(motion=lambda i, j: Motion(yaw_deg=yaw), stance=lambda k: Motion(pitch_deg=-pitch * k))
    assert camera_turn.ask(group, np.random.default_rng(0)) == Rejection(reason)


def test_walks_are_declined_for_known_reasons():
    assert asked("camera_turn")[1].keys() == {"small_turn"}
