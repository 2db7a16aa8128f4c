"""Coordinates of a marked point, by projecting the exact surface."""

from __future__ import annotations

import re

import numpy as np

from hatch_data.questions import Rejection, point_match
from tests.questions import exact
from tests.questions.asked import asked


def test_against_projection_of_the_exact_surface():
    for one in asked("point_match")[0]:
        point = exact.marked(one, 0, exact.mark(one, 0))
        assert exact.is_seen(one, 1, point)
        told = [int(number) for number in re.fullmatch(r"\((\d+), (\d+)\)", one.question.answer).groups()]
        assert np.abs(exact.place(one, 1, point)[:2] * 1000 - told).max() < 8
        assert one.question.sentence.endswith(f" {one.question.answer}.")


def test_places_are_told_apart_by_their_coordinates():
    for one in asked("point_match")[0]:
        x, y = (int(number) for number in re.findall(r"\d+", one.question.answer))
        assert np.allclose(one.question.place, (x / 120, y / 120), atol=0.01)


def test_what_has_no_depth_is_declined():
    declined = point_match.ask(exact.blind_group(), np.random.default_rng(0))
    assert declined == Rejection("no_point_in_both")
    assert asked("point_match")[1].keys() <= {"no_point_in_both"}
