"""Where marked objects lie (SPAR): words found again from angles and heights."""

from __future__ import annotations

from math import atan2, cos, degrees, hypot, sin

import numpy as np
import pytest

from hatch_data.questions import Rejection, family
from hatch_data.questions._objects import ABOVE_BELOW, WORD_M, relation, relation_between, word
from tests.questions.asked import Asked, FakeGroup, asked
from tests.questions.exact_objects import centers, speaks_of_no_names

OF_CAMERA, OF_OBJECTS = "obj_spatial_relation_oc_mv", "obj_spatial_relation_oo_mv"
IMAGINED, IMAGINED_OBJECTS = "spatial_imagination_oc_mv", "spatial_imagination_oo_mv"
FAMILIES = (OF_CAMERA, OF_OBJECTS, IMAGINED, IMAGINED_OBJECTS)


def observer(one: Asked, name: str) -> tuple[np.ndarray, float]:
    """Where the observer of a question stands (3,), and the angle in radians of the heading in a world with z up."""
    if name in (OF_CAMERA, OF_OBJECTS):
        return one.pose(0)[:3, 3], atan2(one.pose(0)[1, 2], one.pose(0)[0, 2])
    at = centers(one)
    stand, facing = at["green"][1], at["blue"][1]
    assert hypot(*(facing - stand)[:2]) >= 0.5
    return stand, atan2(*(facing - stand)[1::-1])


def seen_from(stand: np.ndarray, heading: float, point: np.ndarray) -> tuple[float, float, float]:
    """How far to the left, above and ahead of an observer."""
    east, north, up = point - stand
    bearing, reach = atan2(north, east) - heading, hypot(east, north)
    return reach * sin(bearing), up, reach * cos(bearing)


def check(said: set[str], value: float, words: tuple[str, str]) -> None:
    """The word for the side is said where the value is clear, none where there is next to none."""
    if value >= 0.3:
        assert words[0] in said
    elif value <= -0.3:
        assert words[1] in said
    else:
        assert abs(value) <= 0.1 + 1e-9
        assert not said & set(words)


@pytest.mark.parametrize("name", (OF_CAMERA, IMAGINED))
def test_one_object_against_angles(name):
    for one in asked(name)[0]:
        stand, heading = observer(one, name)
        left, up, ahead = seen_from(stand, heading, centers(one)["red"][1])
        said = set(one.question.answer.split(", "))
        assert said <= {"left", "right", "above", "below", "front", "behind"}
        check(said, left, ("left", "right"))
        check(said, up, ("above", "below"))
        check(said, ahead, ("front", "behind"))
        assert one.question.sentence.endswith(f": {one.question.answer}.")


@pytest.mark.parametrize("name", (OF_OBJECTS, IMAGINED_OBJECTS))
def test_two_objects_against_angles(name):
    for one in asked(name)[0]:
        stand, heading = observer(one, name)
        at = centers(one)
        red, other = at["red"][1], at["blue" if name == OF_OBJECTS else "yellow"][1]
        first, second = (seen_from(stand, heading, point) for point in (red, other))
        assert min(first[2], second[2]) >= 0.3
        said = set(one.question.answer.split(", "))
        assert said <= {"left", "right", "above", "below", "closer", "farther"}
        check(said, first[0] - second[0], ("left", "right"))
        check(said, red[2] - other[2], ("above", "below"))
        check(said, np.linalg.norm(red - stand) - np.linalg.norm(other - stand), ("farther", "closer"))
        turned_left = degrees(atan2(first[0], first[2]) - atan2(second[0], second[2]))
        if said & {"left", "right"}:
            assert (turned_left > 0) == ("left" in said)
        else:
            assert abs(turned_left) <= 5
        assert one.question.sentence.endswith(f": {one.question.answer}.")


@pytest.mark.parametrize("name", FAMILIES)
def test_text_says_no_names(name):
    assert all(speaks_of_no_names(one) for one in asked(name)[0])


@pytest.mark.parametrize("name", FAMILIES)
def test_what_has_no_clear_answer_is_declined(name):
    assert family(name).ask(FakeGroup(instances=[]), np.random.default_rng(0)) == Rejection("no_objects")
    declined = asked(name)[1]
    assert declined["on_a_border"] > 0
    assert declined.keys() <= {"too_few_clear_objects", "on_a_border", "behind_the_observer", "nothing_to_face"}


@pytest.mark.parametrize("name", FAMILIES)
def test_answers_are_many(name):
    assert len({one.question.answer for one in asked(name)[0]}) >= 6


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.05, ""), (-0.1, ""), (0.2, None), (-0.29, None), (WORD_M, "above"), (-0.5, "below")],
)
def test_words_have_margins(value, said):
    assert word(value, ABOVE_BELOW, 1.0) == said


def test_far_off_a_word_needs_more():
    assert word(0.4, ABOVE_BELOW, 5.0) is None
    assert word(0.4, ABOVE_BELOW, 3.0) == "above"


def test_relations():
    assert relation(np.array([-1.0, 0.0, 2.0])) == "left, front"
    assert relation(np.array([1.0, -0.5, -2.0])) == "right, below, behind"
    assert relation(np.array([0.05, 0.05, 0.0])) is None
    assert relation(np.array([0.2, 1.0, 1.0])) is None
    assert relation_between(np.array([1.0, 0.0, 1.0]), np.array([-1.0, 0.0, 3.0])) == "right, closer"


def test_left_in_the_plan_and_right_in_the_picture_is_declined():
    """a is 1 m to the right and b 1.5 m, but a is so near that it is seen farther to the right."""
    assert relation_between(np.array([1.0, 0.0, 1.0]), np.array([1.5, 0.0, 4.0])) is None
