"""The first camera seen from the last, by angles in the plan."""

from __future__ import annotations

import numpy as np

from hatch_data.questions import Rejection, camera_chain
from tests.questions.asked import asked, scenes
from tests.questions.plan import NAMES, bearing, images


def test_against_angles_in_the_plan():
    for one in asked("camera_chain")[0]:
        last, first = images(one.question.sentence)
        assert {last, first} < set(images(one.question.text))
        where, far = one.question.answer.split(", ")
        angle, distance = bearing(one.pose(last), one.pose(first)[:3, 3])
        assert abs((angle - 45 * NAMES.index(where) + 180) % 360 - 180) <= 22.5 - 7.5 + 1e-9
        assert abs(float(far.removesuffix(" m")) - distance) <= 0.05 + 1e-9
        assert distance >= 0.5
        assert f"{where}, {far} away." in one.question.sentence


def test_what_has_no_clear_answer_is_declined():
    assert asked("camera_chain")[1].keys() <= {"no_route", "too_near", "on_a_border", "mostly_vertical"}
    same = scenes()[0][1].group((4, 4, 4))
    assert camera_chain.ask(same, np.random.default_rng(0)) == Rejection("no_route")
