"""Distance of two marked points, from the exact surface."""

from __future__ import annotations

import re

import numpy as np

from hatch_data.questions import Rejection, point_distance
from tests.questions import exact
from tests.questions.asked import asked


def test_against_the_exact_surface():
    for one in asked("point_distance")[0]:
        points = {}
        for k, (marker,) in one.question.markers.items():
            points[marker.label] = exact.marked(one, k, marker)
            assert re.search(
                rf"point {marker.label} (marked )?in image {k + 1}\b", one.question.sentence, re.IGNORECASE
            )
        assert points.keys() == {"A", "B"}
        distance = float(np.linalg.norm(points["A"] - points["B"]))
        told = float(re.fullmatch(r"(\d+\.\d\d) m", one.question.answer)[1])
        reach = max(np.linalg.norm(points[label] - one.pose(k)[:3, 3]) for k, label in _where(one))
        assert abs(told - distance) <= 0.006 + 0.02 * reach
        assert told >= 0.3


def _where(one) -> list[tuple[int, str]]:
    return [(k, marker.label) for k, (marker,) in one.question.markers.items()]


def test_what_has_no_clear_answer_is_declined():
    rng = np.random.default_rng(0)
    assert point_distance.ask(exact.blind_group(), rng) == Rejection("no_trusted_depth")
    assert asked("point_distance")[1]["too_near"] > 0
