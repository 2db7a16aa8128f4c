"""Superlatives of viewpoints, by positions and angles in the plan."""

from __future__ import annotations

import re
from collections import Counter
from math import cos, radians

import numpy as np

from hatch_data.group import SceneViews
from hatch_data.questions import Question, Rejection, view_comparison
from hatch_data.recipe import DataRecipe
from hatch_data.scans.synthetic import SyntheticScene
from hatch_data.views import ViewStore
from tests.questions.asked import asked, groups, scenes
from tests.questions.plan import bearing, images, orientation


def check(question: Question, poses: list[np.ndarray]) -> str:
    """Holds the answer against the poses of the group; what was compared."""

    def aside(k: int, angle: float) -> float:
        to_left, distance = bearing(poses[0], poses[k][:3, 3])
        return distance * cos(radians(to_left - angle))

    text, said = question.text, question.sentence
    candidates = images(" ".join(question.options))
    assert set(candidates) <= set(images(text))
    measures = {
        "highest": (lambda k: poses[k][2, 3], 0.15),
        "lowest": (lambda k: -poses[k][2, 3], 0.15),
        "to the left": (lambda k: aside(k, 90), 0.4),
        "to the right": (lambda k: aside(k, -90), 0.4),
        "ahead": (lambda k: aside(k, 0), 0.4),
        "back": (lambda k: aside(k, 180), 0.4),
        "looks furthest up": (lambda k: orientation(poses[k])[1], 8),
        "looks furthest down": (lambda k: -orientation(poses[k])[1], 8),
    }
    if len(candidates) == 2:
        assert not re.search(r"(highest|lowest|furthest)", text + said)
        said = said.replace("higher", "highest").replace("lower", "lowest").replace("further", "furthest")
        text = text.replace("higher", "highest").replace("lower", "lowest")
    (what,) = [words for words in measures if words in said]
    assert what.rpartition(" ")[2] in text
    value, margin = measures[what]
    truth = images(question.answer)[0]
    if margin == 0.4:
        assert 0 not in candidates
        assert value(truth) >= 0.3 - 1e-9
    assert all(value(truth) >= value(k) + margin - 1e-9 for k in candidates if k != truth)
    return what


def test_against_positions():
    compared = Counter(check(o.question, [o.pose(k) for k in range(len(o.group))]) for o in asked("view_comparison")[0])
    assert len(compared) >= 6


def test_heights_against_cameras_that_were_raised():
    """Synthetic walks keep eye height: here every camera is moved up or down by up to half a metre."""
    exact = scenes()[0][0]
    rng = np.random.default_rng(0)
    raised = [
        pose + np.pad([[0.0], [0.0], [rng.uniform(-0.5, 0.5)], [0.0]], ((0, 0), (3, 0)))
        for pose in exact.world_from_camera
    ]
    scene = SyntheticScene(exact.index, exact.furnished, exact.camera, raised).scene()
    views = SceneViews(scene, scene.frames, ViewStore(), DataRecipe())
    compared = Counter()
    for number in range(200):
        indices = tuple(rng.permutation(len(raised))[: int(rng.integers(2, 9))].tolist())
        question = view_comparison.ask(views.group(indices), np.random.default_rng(number))
        if isinstance(question, Question):
            compared[check(question, [raised[k] for k in indices])] += 1
    assert compared["highest"] > 10
    assert compared["lowest"] > 10


def test_images_are_even():
    """Among groups of three views in random order, each image is as often right as the others of the same options."""
    right, stood = Counter(), Counter()
    for number, (_, group) in zip(range(2500), groups(3, 3, 1), strict=False):
        question = view_comparison.ask(group, np.random.default_rng(number))
        if isinstance(question, Question):
            stood[question.options] += 1
            right[question.options, question.answer] += 1
    for options, answer in right:
        share = 1 / len(options)
        expected = stood[options] * share
        assert abs(right[options, answer] - expected) < 4 * (expected * (1 - share)) ** 0.5


def test_views_alike_are_declined():
    group = scenes()[0][1].group((4, 4, 4))
    assert view_comparison.ask(group, np.random.default_rng(0)) == Rejection("no_clear_difference")
    assert asked("view_comparison")[1].keys() == {"no_clear_difference"}
