"""What is to your left, or to that of an object (MindCube): found again from angles in the plan of the exact scene."""

from __future__ import annotations

import re
from itertools import combinations, pairwise

import numpy as np
import pytest

from hatch_data.questions import Rejection, family
from hatch_data.verify.answers import ANSWERS
from tests.questions.asked import Asked, FakeGroup
from tests.questions.exact_candidates import angle, asked_in, colors_mean_nothing, off, share, tells_no_image
from tests.questions.exact_objects import centers, objects, speaks_of_no_names
from tests.questions.plan import images, orientation, wrapped

KINDS = {"mindcube_rotation": "turn", "mindcube_around": "orbit", "mindcube_among": "orbit"}
MIDDLES = {"in front of": 0.0, "to the left of": 90.0, "behind": 180.0, "to the right of": 270.0}


def questions(name: str) -> list[Asked]:
    return asked_in(name, KINDS[name])[0]


def asked_side(one: Asked) -> str:
    """The side that is asked about, in the last question of the text."""
    question = next(part for part in reversed(re.split(r"(?<=[.?]) ", one.question.text)) if part.endswith("?"))
    (said,) = {side for side in MIDDLES if side in question}
    return said


def viewpoint(one: Asked) -> int:
    """The image from which is asked: the last that the text names."""
    return images(one.question.text)[-1]


def sides(one: Asked, bearing: dict[str, float]) -> dict[str, str]:
    """The side that each bearing, counter-clockwise from ahead, is nearest to; it is clearly that one."""
    found = {}
    for color, value in bearing.items():
        found[color] = min(MIDDLES, key=lambda side: off(value, MIDDLES[side]))
        assert off(value, MIDDLES[found[color]]) <= 30.01
    return found


def agrees(one: Asked, said: dict[str, str]) -> None:
    """Only the answer lies on the side that is asked about; the others lie on other sides, each on its own."""
    assert [color for color, side in said.items() if side == asked_side(one)] == [one.question.answer]
    assert len(set(said.values())) == len(said) == len(one.question.options)
    assert f"in the {one.question.answer} box is {asked_side(one)} " in one.question.sentence


@pytest.mark.parametrize("name", ["mindcube_rotation", "mindcube_around"])
def test_sides_of_an_observer(name):
    for one in questions(name):
        k = viewpoint(one)
        pose, at = one.pose(k), centers(one)
        ways = {color: at[color][1] - pose[:3, 3] for color in one.question.options}
        assert all(at[color][0] != k for color in ways)
        assert all(np.hypot(*way[:2]) >= 0.5 for way in ways.values())
        agrees(one, sides(one, {color: angle(pose[:2, 2], way) for color, way in ways.items()}))


def test_sides_of_an_object():
    for one in questions("mindcube_among"):
        k = viewpoint(one)
        at = centers(one)
        assert at["red"][0] == k
        sight = at["red"][1] - one.pose(k)[:3, 3]
        assert np.hypot(*sight[:2]) >= 0.8
        # Along the line of sight: before the object is opposite to ahead.
        ways = {color: at[color][1] - at["red"][1] for color in one.question.options}
        eye = one.pose(k)[:3, 3]
        assert all(off(angle(sight, at[color][1] - eye), 0) < 90 for color in ways), "behind the observer"
        bearing = {color: angle(sight, way) for color, way in ways.items()}
        flipped = {"in front of": "behind", "behind": "in front of"}
        agrees(one, {color: flipped.get(side, side) for color, side in sides(one, bearing).items()})


def test_turns_on_one_spot_are_told():
    for one in questions("mindcube_rotation"):
        poses = [one.pose(k) for k in range(len(one.group))]
        assert all(np.linalg.norm(a[:3, 3] - b[:3, 3]) <= 0.5 for a, b in combinations(poses, 2))
        said = re.findall(r"turning the camera (\d+) degrees to the (left|right)", one.question.text)
        assert len(said) == len(poses) - 1
        for (number, way), (a, b) in zip(said, pairwise(poses), strict=True):
            turn = wrapped(orientation(b)[0] - orientation(a)[0])
            assert abs(wrapped(turn - int(number) * (1 if way == "left" else -1))) <= 2.51
            assert abs(turn) >= 15


def test_verify_finds_a_turn_that_is_told_wrongly():
    for one in questions("mindcube_rotation")[:20]:
        row = FakeGroup(
            question=one.question.text,
            world_from_camera=[one.pose(k) for k in range(len(one.group))],
            up=one.group.up,
        )
        assert not list(ANSWERS["mindcube_rotation"](row, None))
        mirrored = re.sub(
            r"(left|right) from", lambda m: {"left": "right", "right": "left"}[m[1]] + " from", row.question
        )
        row.question = mirrored
        assert list(ANSWERS["mindcube_rotation"](row, None))


def test_all_images_show_the_object_that_is_walked_around():
    for one in questions("mindcube_around"):
        _, index = objects(one)["red"]
        at = centers(one)["red"][1]
        assert min(share(one, k, index) for k in range(len(one.group))) > 0.002
        ways = [one.pose(k)[:3, 3] - at for k in range(len(one.group))]
        assert max(off(angle(a, b), 0) for a, b in combinations(ways, 2)) >= 29.9


@pytest.mark.parametrize("name", KINDS)
def test_neither_place_nor_color_nor_text_tells(name):
    assert colors_mean_nothing(questions(name))
    assert all(speaks_of_no_names(one) and tells_no_image(one) for one in questions(name))
    assert len({asked_side(one) for one in questions(name)}) == 4


@pytest.mark.parametrize("name", KINDS)
def test_what_has_no_clear_answer_is_declined(name):
    assert family(name).ask(FakeGroup(instances=[]), np.random.default_rng(0)) == Rejection("no_objects")
    declined = asked_in(name, KINDS[name])[1]
    assert declined["too_few_sides"] > 0
    assert declined.keys() <= {"too_few_sides", "moved", "not_turned", "no_common_object", "no_middle_object"}
