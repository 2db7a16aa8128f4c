"""Distance of a marked point to another camera, from the exact surface."""

from __future__ import annotations

import re

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Rejection, point_camera_distance
from hatch_data.questions._points import trusted_points
from tests.questions import exact
from tests.questions.asked import asked, scenes


def test_against_the_exact_surface():
    for one in asked("point_camera_distance")[0]:
        ((i, (marker,)),) = one.question.markers.items()
        named = [int(number) - 1 for number in re.findall(r"image (\d)", one.question.sentence)]
        assert named[0] == i
        assert named[1] != i
        point = exact.marked(one, i, marker)
        distance = float(np.linalg.norm(point - one.pose(named[1])[:3, 3]))
        told = float(re.fullmatch(r"(\d+\.\d\d) m", one.question.answer)[1])
        assert abs(told - distance) <= 0.006 + 0.015 * np.linalg.norm(point - one.pose(i)[:3, 3])
        assert set(re.findall(r"image (\d)", one.question.text)) == {str(k + 1) for k in named}


class Nearby(ViewGroup):
    """Views whose cameras all stand in one place."""

    place: np.ndarray

    def world_from_camera(self, k: int) -> np.ndarray:
        pose = super().world_from_camera(k).copy()
        pose[:3, 3] = self.place
        return pose


def test_what_has_no_clear_answer_is_declined():
    blind = exact.blind_group()
    assert point_camera_distance.ask(blind, np.random.default_rng(0)) == Rejection("no_trusted_depth")
    group = Nearby(scenes()[0][1], (0, 1))
    group.place = np.full(3, 100.0)
    ((i, (marker,)),) = point_camera_distance.ask(group, np.random.default_rng(0)).markers.items()
    group.place = trusted_points(group, i, np.array([marker.box[:2]]))[0].world
    assert point_camera_distance.ask(group, np.random.default_rng(0)) == Rejection("too_near")
