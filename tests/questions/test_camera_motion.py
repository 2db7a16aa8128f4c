"""Action lists, by dead reckoning."""

from __future__ import annotations

import numpy as np

from hatch_data.questions import Rejection, camera_motion
from tests.questions.asked import FakeGroup, asked
from tests.questions.plan import misses


def test_against_dead_reckoning():
    """A camera does what the text says; it ends where camera 2 stands and looks."""
    for one in asked("camera_motion")[0]:
        metres, angle = misses(one.question.answer, one.pose(0), one.pose(1))
        assert metres <= 0.05 + 1e-6
        assert angle <= 2.5 + 1e-6


def test_views_that_do_not_differ_are_declined():
    still = FakeGroup(actions=lambda i, j: ())
    assert camera_motion.ask(still, np.random.default_rng(0)) == Rejection("no_motion")


def test_it_is_said_in_several_ways():
    assert len({one.question.text for one in asked("camera_motion")[0]}) == len(camera_motion.PHRASINGS)
