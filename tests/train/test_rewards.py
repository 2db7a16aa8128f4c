"""What hand-written replies earn."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_data.actions import execute, format_pairs, parse_text
from hatch_data.motion import Motion
from hatch_train.rewards import Wanted, agreement, answer_reward, judge, read_reply, relative_accuracy

PAIRS = [
    (0, 1, parse_text("move_forward 1m, turn_left 30deg")),
    (0, 2, parse_text("move_right 0.5m, turn_right 90deg")),
    (1, 2, ()),
]
WANTED = Wanted(PAIRS, "B", ["left", "right", "straight on"])
PERFECT = f"<action>{format_pairs(PAIRS)}</action><answer>B</answer>"


@pytest.mark.parametrize(
    "reply, action, answer, well_formed",
    [
        (PERFECT, 1, 1, 1),
        (PERFECT.replace("</action>", "</action>\n "), 1, 1, 1),
        # Wrong: each turned round; a pair that should stay does.
        (PERFECT.replace("forward", "backward").replace("left_deg", "right_deg").replace(">B<", ">C<"), 0.706, 0, 1),
        # The last pair is missing: its third is lost, and the format is wrong.
        (PERFECT.replace(', {"from": 2, "to": 3, "actions": []}', ""), 2 / 3, 1, 0),
        # One pair too many earns nothing and is wrong in form.
        (PERFECT.replace("}]</action>", '}, {"from": 3, "to": 4, "actions": []}]</action>'), 1, 1, 0),
        # Malformed: JSON that ends too early, a verb that is none, no tags at all.
        (PERFECT.replace("}]</action>", "</action>"), 1, 1, 0),
        (PERFECT.replace("move_forward", "fly_forward"), 0.861, 1, 0),
        (format_pairs(PAIRS), 1, 0, 0),
        ("<answer>B</answer>", 0, 1, 0),
        (f"{PERFECT} That is all.", 1, 1, 0),
        (PERFECT.replace(">B<", "><"), 1, 0, 0),
        ("<action></action><answer></answer>", 0, 0, 0),
        ("", 0, 0, 0),
    ],
)
def test_replies(reply: str, action: float, answer: float, well_formed: float) -> None:
    assert astuple(judge(reply, WANTED)) == pytest.approx((action, answer, well_formed), abs=0.01)


def test_a_row_without_actions_is_judged_by_its_answer() -> None:
    wanted = Wanted([], "2.5")
    assert astuple(judge("<answer>2.5</answer>", wanted)) == (None, 1.0, 1.0)
    assert astuple(judge("<action>[]</action><answer>2.4</answer>", wanted)) == (None, 1.0, 0.0)
    assert read_reply("2.5") is None


MOTIONS = st.builds(Motion, *[st.floats(-5, 5)] * 3, *[st.floats(-180, 180)] * 3)


@given(MOTIONS, MOTIONS)
def test_agreement_is_a_share(one: Motion, other: Motion) -> None:
    assert 0 <= agreement(one, other) <= 1
    assert agreement(one, other) == pytest.approx(agreement(other, one))
    assert agreement(one, one) == 1


@given(MOTIONS, st.floats(0, 1), st.floats(0, 1))
def test_agreement_grows_towards_the_truth(motion: Motion, first: float, second: float) -> None:
    """Along the way from no motion to the wanted one."""

    def part(share: float) -> Motion:
        return Motion(*(share * value for value in astuple(motion)))

    near, far = max(first, second), min(first, second)
    assert agreement(part(near), motion) >= agreement(part(far), motion) - 1e-9


def test_agreement_by_hand() -> None:
    def motion(text: str) -> Motion:
        return execute(parse_text(text))

    # Translation 1 - 0.5 / (0.5 + 1 + 0.2), rotation 1 - 10 / (20 + 30 + 10).
    found = agreement(motion("move_forward 0.5m, turn_left 20deg"), motion("move_forward 1m, turn_left 30deg"))
    assert found == pytest.approx((1 - 0.5 / 1.7 + 1 - 10 / 60) / 2)
    # The same motion said in the other vocabulary; across half a turn.
    assert agreement(motion("turn_left 180deg, move_forward 1m, turn_left 180deg"), motion("move_backward 1m")) == 1
    assert agreement(motion("turn_left 175deg"), motion("turn_right 175deg")) > 0.98


@pytest.mark.parametrize("far", ["turn_up {0}deg, turn_up {0}deg", "move_up {0}m, move_up {0}m"])
def test_more_than_a_float_can_hold_earns_nothing(far: str) -> None:
    assert answer_reward(far.format("1" + "7" * 308), "turn_left 30deg") == 0


@pytest.mark.parametrize(
    "said, wanted, options, worth",
    [
        ("B", "B", 3, 1),
        (" b. right ", "B", 3, 1),
        ("(B)", "B", 3, 1),
        ("Both", "B", 3, 0),
        ("A", "B", 3, 0),
        ("", "B", 3, 0),
        ("3", "4", 4, 0),
        ("yes", "Yes", 0, 1),
        ("no", "yes", 0, 0),
        ("2, 1, 3", "2, 3, 1", 0, 0),
        ("1.0 m", "1.0m", 0, 1),
        ("about 1.2 metres", "1m", 0, 0.7),
        ("10", "4", 0, 0),
        ("far", "4", 0, 0),
        ("turn_left 30deg", "turn_left 30deg", 0, 1),
        ("turn left by 20 degrees", "turn_left 30deg", 0, 1 - 10 / 60 / 2),
        ("I do not know", "turn_left 30deg", 0, 0),
    ],
)
def test_answers(said: str, wanted: str, options: int, worth: float) -> None:
    assert answer_reward(said, wanted, ["?"] * options) == pytest.approx(worth, abs=1e-6)


def test_relative_accuracy_is_that_of_vsi_bench() -> None:
    """Against the loop over thresholds."""
    for said in np.linspace(0, 3, 61):
        expected = np.mean([abs(said - 1.5) / 1.5 <= 1 - t for t in np.linspace(0.5, 0.95, 10)])
        assert abs(relative_accuracy(said, 1.5) - expected) < 1e-9 or np.isclose(abs(said - 1.5) / 1.5 * 20 % 1, 0)
    assert relative_accuracy(0, 0) == 1 and relative_accuracy(0.1, 0) == 0
