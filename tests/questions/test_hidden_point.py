"""What lies in front of a hidden point, by rays into the exact scene."""

from __future__ import annotations

import numpy as np

from hatch_data.questions import Rejection, hidden_point
from tests.questions import exact
from tests.questions.asked import asked


def test_against_rays():
    for one in asked("hidden_point")[0]:
        point = exact.marked(one, 0, exact.mark(one, 0))
        x, y, depth = exact.place(one, 1, point)
        assert depth > 0
        assert 0 < x < 1
        assert 0 < y < 1
        assert not exact.is_seen(one, 1, point)
        assert exact.place(one, 1, exact.behind(one, 1, x, y))[2] < depth - 0.15
        # Every candidate could cover it: what is marked is nearer to camera 2 than the hidden point.
        for marker in one.question.markers[1]:
            assert exact.place(one, 1, exact.behind(one, 1, *marker.box[:2]))[2] < depth - 0.15
        off = np.linalg.norm([marker.box[:2] for marker in one.question.markers[1]] - np.array([x, y]), axis=-1)
        assert one.question.answer == f"point {'ABCD'[int(off.argmin())]}"
        assert off.min() < 0.01
        assert np.sort(off)[1] > 0.13


def test_points_are_even():
    assert exact.answers_are_even("hidden_point")


def test_what_has_no_clear_answer_is_declined():
    assert hidden_point.ask(exact.blind_group(), np.random.default_rng(0)) == Rejection("nothing_hidden")
    assert asked("hidden_point")[1].keys() <= {"nothing_hidden", "no_room_for_candidates"}
