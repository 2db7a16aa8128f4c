"""Visible, hidden or outside, by rays into the exact scene."""

from __future__ import annotations

from collections import Counter

import numpy as np

from hatch_data.questions import Rejection, visibility
from tests.questions import exact
from tests.questions.asked import asked


def test_against_rays():
    for one in asked("visibility")[0]:
        point = exact.marked(one, 0, exact.mark(one, 0))
        x, y, depth = exact.place(one, 1, point)
        if depth <= 0 or not (0 <= x <= 1 and 0 <= y <= 1):
            truth = "outside"
        else:
            truth = "visible" if exact.is_seen(one, 1, point) else "hidden"
        assert one.question.answer == truth
        beyond = max(-x, x - 1, -y, y - 1)
        assert depth <= 0 or abs(beyond) > 0.05  # no answer hangs on the border


def test_all_answers_are_given():
    answers = Counter(one.question.answer for one in asked("visibility")[0])
    assert answers.keys() == {"visible", "hidden", "outside"}
    assert min(answers.values()) > 5
    assert {one.question.choices for one in asked("visibility")[0]} == {3}


def test_what_has_no_clear_answer_is_declined():
    rng = np.random.default_rng(0)
    reasons = {visibility.ask(exact.blind_group(), rng) for _ in range(40)}
    assert reasons == {Rejection(f"nothing_{fate}") for fate in ("visible", "hidden", "outside")}
