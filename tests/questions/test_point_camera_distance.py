"""Distance of a marked point to another camera, from the exact surface."""

from __future__ import annotations

import re

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Rejection, point_camera_distance
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


class AtThePoint(ViewGroup):
    """Views whose cameras all stand on what is marked."""

    def world_from_camera(self, k: int) -> np.ndarray:
        pose = super().world_from_camera(k).copy()
        view = self.view(0)
        pose[:3, 3] = view.world_from_position @ np.array([*np.array(view.raster.shape[::-1]) / 2, 1, 1])
        return pose


def test_what_has_no_clear_answer_is_declined():
    rng = np.random.default_rng(0)
    assert point_camera_distance.ask(exact.blind_group(), rng) == Rejection("no_trusted_depth")
    near = AtThePoint(scenes()[0][1], (0, 1))
    found = {getattr(point_camera_distance.ask(near, rng), "reason", "asked") for _ in range(400)}
    assert found <= {"too_near", "asked"}
