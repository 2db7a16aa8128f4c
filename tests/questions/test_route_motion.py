"""Steps of a route, by dead reckoning from view to view, and what the views share, by rays."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from hatch_data.questions import Rejection, route_motion
from tests.questions.asked import Asked, asked, scenes
from tests.questions.plan import images, misses


def route(one: Asked) -> list[int]:
    """The views of a route in their order, as the sentence tells them."""
    return images(one.question.sentence)


def shared(one: Asked, i: int, j: int) -> float:
    """Share of what view i shows that view j sees, by rays on a lattice; the mean of both ways."""
    camera = one.scene.camera
    u, v = np.meshgrid(np.linspace(2, camera.width - 3, 24), np.linspace(2, camera.height - 3, 18))
    pixels = np.stack([u, v], axis=-1)
    shares = [
        one.scene.visible_from(one.scene.surface(one.indices[a], pixels).points, one.pose(b), camera).mean()
        for a, b in ((i, j), (j, i))
    ]
    return float(np.mean(shares))


def test_against_dead_reckoning():
    for one in asked("route_motion")[0]:
        views = route(one)
        steps = one.question.answer.split("; ")
        assert set(images(one.question.text)) == set(views)
        assert len(steps) == len(views) - 1 >= 2
        for number, (said, (a, b)) in enumerate(zip(steps, pairwise(views), strict=True), 1):
            assert said.startswith(f"step {number}: ")
            metres, angle = misses(said, one.pose(a), one.pose(b))
            assert metres <= 0.05 + 1e-6
            assert angle <= 2.5 + 1e-6


def test_ends_hardly_overlap_and_steps_do():
    for one in asked("route_motion")[0][:60]:
        views = route(one)
        assert shared(one, views[0], views[-1]) < 0.1 + 0.05
        assert all(shared(one, a, b) > 0.2 - 0.05 for a, b in pairwise(views))


def test_what_has_no_clear_answer_is_declined():
    assert asked("route_motion")[1].keys() <= {"no_route", "no_motion"}
    same = scenes()[0][1].group((4, 4, 4))
    assert route_motion.ask(same, np.random.default_rng(0)) == Rejection("no_route")
