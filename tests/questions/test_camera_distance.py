"""Distances between cameras, by Pythagoras."""

from __future__ import annotations

import numpy as np

from hatch_data.questions import Rejection, camera_distance
from tests.questions.asked import FakeGroup, asked, scenes
from tests.questions.plan import images


def test_against_positions():
    for one in asked("camera_distance")[0]:
        i, j = images(one.question.text)
        assert images(one.question.sentence) == [i, j]
        distance = float(((one.pose(i)[:3, 3] - one.pose(j)[:3, 3]) ** 2).sum() ** 0.5)
        assert distance >= 0.3
        assert abs(float(one.question.answer.removesuffix(" m")) - distance) <= 0.05 + 1e-9


def test_larger_groups_are_not_alternatives_of_smaller_ones():
    assert {one.question.key for one in asked("camera_distance")[0]} == {"2", "3", "4"}


class Pair(FakeGroup):
    def __len__(self):
        return 2


def test_what_has_no_clear_answer_is_declined():
    def at(metres):
        return lambda k: np.array([[1, 0, 0, metres * k], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])

    rng = np.random.default_rng(0)
    assert camera_distance.ask(Pair(world_from_camera=at(0.29)), rng) == Rejection("too_near")
    apart = Pair(world_from_camera=at(2.0), overlap=lambda i, j: 0.09)
    assert camera_distance.ask(apart, rng) == Rejection("overlap_too_small")


def test_the_overlap_of_a_group_is_that_of_both_ways():
    group = scenes()[0][1].group((0, 3))
    there, back = group.correspondence(0, 1).map.overlap, group.correspondence(1, 0).map.overlap
    assert group.overlap(0, 1) == group.overlap(1, 0) == (there + back) / 2
    assert 0 < group.overlap(0, 1) < 1
