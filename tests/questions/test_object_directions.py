"""In which direction objects lie, and how a way turns at one: from angles in the plan of the exact scene."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hatch_data.questions import Rejection, family
from tests.questions.asked import FakeGroup, asked
from tests.questions.exact_candidates import angle, off, share
from tests.questions.exact_objects import centers, objects, speaks_of_no_names
from tests.questions.plan import NAMES, images

FAMILIES = ("relation_camera_object", "relation_object_object", "object_route")
TURNS = {"go straight on": 0, "turn left": 90, "turn back": 180, "turn right": 270}


def is_direction(said: str, ahead: np.ndarray, way: np.ndarray) -> bool:
    """Whether a way leads in the direction that is said, clearly, and not mostly up or down."""
    level = np.hypot(*way[:2])
    assert level >= 0.3
    assert abs(way[2]) <= level
    return off(angle(ahead, way), 45 * NAMES.index(said)) <= 15.01


def test_from_a_camera_that_does_not_see_it():
    for one in asked("relation_camera_object")[0]:
        (k,) = images(one.question.text)
        _, index = objects(one)["red"]
        assert share(one, k, index) <= 0.0003
        assert is_direction(one.question.answer, one.pose(k)[:2, 2], centers(one)["red"][1] - one.pose(k)[:3, 3])


def test_from_one_object_to_another():
    for one in asked("relation_object_object")[0]:
        (k,) = images(one.question.text)
        at = centers(one)
        assert at["red"][0] != at["blue"][0]
        assert is_direction(one.question.answer, one.pose(k)[:2, 2], at["red"][1] - at["blue"][1])


def test_turns_of_a_way():
    for one in asked("object_route")[0]:
        at = {color: middle[:2] for color, (_, middle) in centers(one).items()}
        first, second = at["blue"] - at["green"], at["red"] - at["blue"]
        assert min(np.hypot(*first), np.hypot(*second)) >= 0.7
        assert off(angle(first, second), TURNS[one.question.answer]) <= 30.01


@pytest.mark.parametrize("name", FAMILIES)
def test_sentences_say_the_same_and_texts_no_names(name):
    for one in asked(name)[0]:
        assert re.search(rf"(?<![\w-]){one.question.answer}(?![\w-])", one.question.sentence)
        assert speaks_of_no_names(one)
        assert "box in image" not in one.question.text


@pytest.mark.parametrize("name", FAMILIES)
def test_what_has_no_clear_answer_is_declined(name):
    assert family(name).ask(FakeGroup(instances=[]), np.random.default_rng(0)) == Rejection("no_objects")
    declined = asked(name)[1]
    assert declined["on_a_border"] > 0
    allowed = {"too_few_clear_objects", "seen_by_all", "too_near", "mostly_vertical", "on_a_border"}
    assert declined.keys() <= allowed


@pytest.mark.parametrize("name", FAMILIES)
def test_answers_are_many(name):
    assert len({one.question.answer for one in asked(name)[0]}) >= 4
