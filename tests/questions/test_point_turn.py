"""The turn towards a marked point, by angles in the plan."""

from __future__ import annotations

import re
from math import atan2, degrees

import numpy as np
import pytest

from hatch_data.group import ViewGroup
from hatch_data.motion import Motion
from hatch_data.questions import Rejection, point_turn
from tests.questions import exact
from tests.questions.asked import asked, scenes


def test_against_angles_in_the_plan():
    for one in asked("point_turn")[0]:
        ((i, (marker,)),) = one.question.markers.items()
        named = [int(number) - 1 for number in re.findall(r"image (\d)", one.question.sentence)]
        assert named[0] == i
        assert named[1] != i
        camera = one.pose(named[1])
        east, north = (exact.marked(one, i, marker) - camera[:3, 3])[:2]
        turn = degrees(atan2(north, east) - atan2(camera[1, 2], camera[0, 2]))
        side, told = re.fullmatch(r"turn_(left|right) (\d+)deg", one.question.answer).groups()
        signed = float(told) if side == "left" else -float(told)
        assert abs((signed - turn + 180) % 360 - 180) < 2.5 + 1.5


class Placed(ViewGroup):
    """Views from which every point lies in the same direction, with a camera of this pitch."""

    def __init__(self, forward: float, left: float, pitch: float):
        super().__init__(scenes()[0][1], (0, 1))
        self.there, self.pitch = np.array([forward, left, 0.0]), pitch

    def from_view(self, k: int, point: np.ndarray) -> np.ndarray:
        return self.there

    def stance(self, k: int) -> Motion:
        return Motion(pitch_deg=self.pitch)


@pytest.mark.parametrize(
    ("forward", "left", "pitch", "reason"),
    [
        (2.0, 0.3, 0.0, "straight_ahead"),
        (-2.0, 0.4, 0.0, "straight_behind"),
        (0.2, -0.3, 0.0, "too_near"),
        (2.0, 2.0, -70.0, "no_clear_heading"),
    ],
)
def test_what_has_no_clear_answer_is_declined(forward, left, pitch, reason):
    assert point_turn.ask(Placed(forward, left, pitch), np.random.default_rng(0)) == Rejection(reason)


def test_a_turn_to_each_side():
    rng = np.random.default_rng(0)
    assert point_turn.ask(Placed(2.0, 2.0, 0.0), rng).answer == "turn_left 45deg"
    assert point_turn.ask(Placed(-0.1, -2.0, 0.0), rng).answer == "turn_right 95deg"
    assert point_turn.ask(exact.blind_group(), rng) == Rejection("no_trusted_depth")


def test_turns_that_differ_clearly_lie_apart_all_around():
    rng = np.random.default_rng(0)
    behind = [point_turn.ask(Placed(-2.0, side, 0.0), rng).place for side in (0.6, -0.6)]
    assert np.linalg.norm(np.subtract(*behind)) > 1  # 33 degrees from each other, not 327
