"""Nearest and farthest viewpoints of a marked point, by rays into the exact scene."""

from __future__ import annotations

from collections import Counter

import numpy as np

from hatch_data.questions import Question, Rejection, view_nearest
from tests.questions.asked import asked, groups, scenes
from tests.questions.plan import images


def test_against_rays():
    for one in asked("view_nearest")[0]:
        camera = one.scene.camera
        ((source, (marker,)),) = one.question.markers.items()
        pixel = np.multiply(marker.box[:2], (camera.width, camera.height)) - 0.5
        point = one.scene.surface(one.indices[source], pixel).points
        candidates = images(" ".join(one.question.options))
        assert source not in candidates
        assert set(images(one.question.text)) == {source, *candidates}
        assert all(
            one.scene.visible_from(point + 0.02 * (one.pose(k)[:3, 3] - point), one.pose(k), camera) for k in candidates
        )
        distances = {k: float(np.linalg.norm(one.pose(k)[:3, 3] - point)) for k in candidates}
        nearest, farthest = ("nearer", "farther") if len(candidates) == 2 else ("nearest", "farthest")
        asks_nearest = nearest in one.question.text
        assert asks_nearest != (farthest in one.question.text)
        truth = (min if asks_nearest else max)(candidates, key=distances.__getitem__)
        assert one.question.answer == f"image {truth + 1}"
        others = [distances[k] for k in candidates if k != truth]
        margin = min(others) - distances[truth] if asks_nearest else distances[truth] - max(others)
        assert margin > 0.25
        assert (nearest if asks_nearest else farthest) in one.question.sentence


def test_images_are_even():
    right, stood = Counter(), Counter()
    for number, (_, group) in zip(range(1500), groups(3, 3, 1), strict=False):
        question = view_nearest.ask(group, np.random.default_rng(number))
        if isinstance(question, Question):
            stood[question.options] += 1
            right[question.options, question.answer] += 1
    assert len(stood) == 3
    for options, answer in right:
        assert abs(right[options, answer] - stood[options] / 2) < 4 * (stood[options] / 4) ** 0.5


def test_what_has_no_clear_answer_is_declined():
    assert asked("view_nearest")[1].keys() == {"no_shared_point", "distances_alike"}
    same = scenes()[0][1].group((4, 4, 4))
    assert view_nearest.ask(same, np.random.default_rng(0)) == Rejection("distances_alike")
