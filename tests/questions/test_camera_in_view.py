"""Cameras in and out of view, by rays and angles in the exact scene."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hatch_data.motion import Motion
from hatch_data.questions import Question, Rejection, camera_in_view
from hatch_data.scans.synthetic import SyntheticScene
from tests.questions.asked import FakeGroup, asked, scenes
from tests.questions.plan import bearing


def check(question: Question, exact: SyntheticScene, first: np.ndarray, second: np.ndarray) -> None:
    """A ray from camera 1 to camera 2, and the angle between it and the way that camera 1 looks."""
    camera, goal = exact.camera, second[:3, 3]
    x, y, z = (goal - first[:3, 3]) @ first[:3, :3]
    u, v = x / z * camera.fx + camera.cx, y / z * camera.fy + camera.cy
    inside = z > 0 and 0 < u < camera.width and 0 < v < camera.height
    angle, _ = bearing(first, goal)
    if question.answer == "in view":
        assert inside
        assert exact.visible_from(goal, first, camera)
    elif question.answer == "hidden behind something":
        assert inside
        assert not exact.visible_from(goal, first, camera)
    elif question.answer == "behind the camera":
        assert abs(angle) >= 130 - 1e-9
        assert not inside
    else:
        side = 1 if question.answer == "out of view to the left" else -1
        assert 30 < side * angle <= 105 + 1e-9
        assert z <= 0 or side * (camera.width / 2 - u) > camera.width / 2


def test_against_rays():
    for one in asked("camera_in_view")[0]:
        check(one.question, one.scene, one.pose(0), one.pose(1))


def test_every_class_against_rays():
    """Pairs of whole scenes: they need not overlap."""
    found, declined = Counter(), Counter()
    rng = np.random.default_rng(0)
    for exact, views in scenes():
        for i, j in rng.integers(len(views.frames), size=(300, 2)).tolist():
            question = camera_in_view.ask(views.group((i, j)), rng)
            if isinstance(question, Question):
                check(question, exact, exact.world_from_camera[i], exact.world_from_camera[j])
                found[question.answer] += 1
            else:
                declined[question.reason] += 1
    assert found.keys() == set(camera_in_view.CLASSES)
    assert declined.keys() <= {"too_near", "on_a_border", "above_or_below", "no_depth", "depth_alike"}


@pytest.mark.parametrize("tilt", [Motion(pitch_deg=-36), Motion(roll_deg=36)])
def test_tilted_images_are_declined(tilt):
    group = FakeGroup(stance=lambda k: tilt)
    assert camera_in_view.ask(group, np.random.default_rng(0)) == Rejection("tilted")
