"""The image of the other camera, by a ray through the point that is told."""

from __future__ import annotations

import re

import numpy as np

from hatch_data.questions import Rejection, camera_point
from tests.questions.asked import asked, scenes


def test_against_rays():
    """The ray through the point passes the other camera, and meets the scene beyond it."""
    for one in asked("camera_point")[0]:
        x, y = (int(part) for part in re.fullmatch(r"\((\d+), (\d+)\)", one.question.answer).groups())
        camera, first, goal = one.scene.camera, one.pose(0), one.pose(1)[:3, 3]
        u, v = x / 1000 * camera.width - 0.5, y / 1000 * camera.height - 0.5
        ray = first[:3, :3] @ ((u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1.0)
        ray = ray / np.linalg.norm(ray)
        ahead = (goal - first[:3, 3]) @ ray
        missed = np.linalg.norm(goal - first[:3, 3] - ahead * ray)
        pixel = ahead / camera.fx
        assert missed <= 0.001 * camera.width * pixel * 1.5
        surface = one.scene.surface(one.indices[0], np.array([u, v])).points
        assert np.linalg.norm(surface - first[:3, 3]) > ahead
        assert one.question.answer in one.question.sentence
        assert "(1000, 1000) at the bottom right" in one.question.text


def test_what_is_not_in_view_is_declined():
    assert {"not_in_view", "too_near"} <= asked("camera_point")[1].keys()
    assert camera_point.ask(scenes()[0][1].group((4, 4)), np.random.default_rng(0)) == Rejection("too_near")
