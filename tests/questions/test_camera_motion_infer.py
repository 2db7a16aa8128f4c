"""The place of camera 2 in image 1 (SPAR), by its pixel ray."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hatch_data.questions import Rejection, camera_motion_infer
from tests.questions.asked import FakeGroup, asked


def test_against_the_ray_through_the_place():
    """From camera 1, so many metres of depth along the ray through the place answered, one stands at camera 2."""
    for one in asked("camera_motion_infer")[0]:
        x, y, depth = (
            float(number) for number in re.fullmatch(r"\((\d+), (\d+)\), (\d+\.\d) m", one.question.answer).groups()
        )
        camera, start, end = one.scene.camera, one.pose(0), one.pose(1)[:3, 3]
        true_depth = float((end - start[:3, 3]) @ start[:3, 2])
        assert true_depth >= 0.4
        assert abs(depth - true_depth) <= 0.05 + 1e-9
        u, v = x / 1000 * camera.width - 0.5, y / 1000 * camera.height - 0.5
        ray = start[:3, :3] @ np.array([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1.0])
        pixel_m = true_depth / camera.fx * camera.width / 1000
        assert np.abs(start[:3, 3] + true_depth * ray - end).max() < pixel_m
        assert f"({x:.0f}, {y:.0f})" in one.question.sentence
        assert f"{depth:.1f} m" in one.question.sentence


@pytest.mark.parametrize(
    ("place", "reason"),
    [((0.5, 0.5, 0.3), "not_in_front"), ((np.nan, np.nan, -1.0), "not_in_front"), ((1.2, 0.5, 2.0), "outside_image")],
)
def test_what_has_no_place_is_declined(place, reason):
    group = FakeGroup(place_of=lambda k, point: place, world_from_camera=lambda k: np.eye(4))
    assert camera_motion_infer.ask(group, np.random.default_rng(0)) == Rejection(reason)
