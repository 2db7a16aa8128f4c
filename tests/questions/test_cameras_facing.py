"""Arrangements of two cameras, by the rays of their optical axes in the plan."""

from __future__ import annotations

from collections import Counter
from math import cos, radians, sin

import numpy as np
import pytest

from hatch_data.motion import Motion, invert
from hatch_data.questions import Question, Rejection, cameras_facing
from tests.questions.asked import FakeGroup, asked, scenes


def check(question: Question, first: np.ndarray, second: np.ndarray) -> None:
    """The class by how much of each optical axis, in plan, points at the other camera."""
    ways = [pose[:2, 2] / np.linalg.norm(pose[:2, 2]) for pose in (first, second)]
    line = second[:2, 3] - first[:2, 3]
    line = line / np.linalg.norm(line)
    towards = float(ways[0] @ line), float(-ways[1] @ line)
    ahead, beside = cos(radians(30)) - 1e-9, sin(radians(30)) + 1e-9
    if question.answer == "side by side":
        assert max(map(abs, towards)) <= beside
        assert ways[0] @ ways[1] >= cos(radians(30)) - 1e-9
        return
    signs = {
        "face to face": (1, 1),
        "back to back": (-1, -1),
        "camera 1 behind camera 2": (1, -1),
        "camera 2 behind camera 1": (-1, 1),
    }[question.answer]
    assert all(sign * share >= ahead for sign, share in zip(signs, towards, strict=True))


def test_against_optical_axes():
    for one in asked("cameras_facing")[0]:
        check(one.question, one.pose(0), one.pose(1))


def test_every_arrangement_against_optical_axes():
    """Pairs of whole scenes: they need not overlap."""
    found, declined = Counter(), Counter()
    rng = np.random.default_rng(0)
    for exact, views in scenes():
        for i, j in rng.integers(len(views.frames), size=(300, 2)).tolist():
            question = cameras_facing.ask(views.group((i, j)), rng)
            if isinstance(question, Question):
                check(question, exact.world_from_camera[i], exact.world_from_camera[j])
                found[question.answer] += 1
            else:
                declined[question.reason] += 1
    assert found.keys() == set(cameras_facing.CLASSES)
    assert declined.keys() == {"too_near", "in_between"}


@pytest.mark.parametrize(
    ("motion", "pitch", "reason"),
    [
        (Motion(forward_m=0.39), 0, "too_near"),
        (Motion(forward_m=0.5, up_m=0.6), 0, "mostly_vertical"),
        (Motion(forward_m=1.0, left_m=1.0), 0, "in_between"),
        (Motion(forward_m=1.0, left_m=0.6), 0, "in_between"),
        (Motion(left_m=1.0, yaw_deg=90.0), 0, "in_between"),
        (Motion(forward_m=1.0), 70, "looks_steeply"),
    ],
)
def test_what_has_no_clear_answer_is_declined(motion, pitch, reason):
    group = FakeGroup(
        motion=lambda i, j: motion if i < j else invert(motion), stance=lambda k: Motion(pitch_deg=-pitch * k)
    )
    assert cameras_facing.ask(group, np.random.default_rng(0)) == Rejection(reason)
