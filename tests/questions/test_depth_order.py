"""The nearest or farthest of marked points, from the exact surface."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from hatch_data.questions import Rejection, depth_order
from tests.questions import exact
from tests.questions.asked import asked


def test_against_the_exact_surface():
    for one in asked("depth_order")[0]:
        k = int(re.search(r"camera of image (\d)", one.question.sentence)[1]) - 1
        distance = {
            f"point {marker.label}": float(np.linalg.norm(exact.marked(one, view, marker) - one.pose(k)[:3, 3]))
            for view, markers in one.question.markers.items()
            for marker in markers
        }
        assert distance.keys() == set(one.question.options)
        ordered = sorted(distance, key=distance.get, reverse="farthest" in one.question.text)
        assert one.question.answer == ordered[0]
        first, second = (distance[point] for point in ordered[:2])
        assert abs(first - second) > 0.2
        assert max(first, second) > 1.17 * min(first, second)


def test_text_names_the_views_and_never_which_point_is_where():
    kinds = Counter()
    for one in asked("depth_order")[0]:
        views = sorted(one.question.markers)
        assert f"in {' and '.join(f'image {view + 1}' for view in views)}" in one.question.text
        kinds[len(views), "farthest" in one.question.text] += 1
        if len(views) == 2:
            assert [len(one.question.markers[view]) for view in views] == [2, 2]
    assert len(kinds) == 4
    assert min(kinds.values()) > 20


def test_points_are_even():
    assert exact.answers_are_even("depth_order")


def test_what_has_no_clear_answer_is_declined():
    assert depth_order.ask(exact.blind_group(), np.random.default_rng(0)) == Rejection("too_few_points")
    assert asked("depth_order")[1]["distances_alike"] > 0
