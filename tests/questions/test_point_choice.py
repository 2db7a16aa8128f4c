"""The candidate that is the marked point, by projecting the exact surface."""

from __future__ import annotations

import numpy as np

from hatch_data.questions import Rejection, point_choice
from tests.questions import exact
from tests.questions.asked import asked


def test_against_projection_of_the_exact_surface():
    for one in asked("point_choice")[0]:
        point = exact.marked(one, 0, exact.mark(one, 0))
        assert exact.is_seen(one, 1, point)
        candidates = [marker.box[:2] for marker in one.question.markers[1]]
        off = np.linalg.norm(candidates - exact.place(one, 1, point)[:2], axis=-1)
        assert one.question.answer == f"point {'ABCD'[int(off.argmin())]}"
        assert off.min() < 0.01
        assert np.sort(off)[1] > 0.13


def test_every_candidate_is_seen_in_image_1():
    """Any of them might have been asked about: that it is seen in both images tells nothing."""
    for one in asked("point_choice")[0]:
        assert [marker.label for marker in one.question.markers[1]] == list("ABCD")
        for marker in one.question.markers[1]:
            assert exact.is_seen(one, 0, exact.marked(one, 1, marker))


def test_points_are_even():
    assert exact.answers_are_even("point_choice")


def test_what_has_no_depth_is_declined():
    declined = point_choice.ask(exact.blind_group(), np.random.default_rng(0))
    assert declined == Rejection("too_few_points_in_both")
