"""Depths and distances of marked objects (SPAR): measured again from the parts the objects are made of."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hatch_data.asking import alike
from hatch_data.questions import Question, Rejection, family
from hatch_data.questions._objects import COLORS
from hatch_data.questions._points import length_place
from tests.questions.asked import Asked, FakeGroup, asked
from tests.questions.exact_objects import centers, speaks_of_no_names

FAMILIES = (
    "depth_prediction_oc_mv",
    "depth_prediction_oo_mv",
    "distance_prediction_oc_mv",
    "distance_prediction_oo_mv",
)


def depth(one: Asked, color: str) -> float:
    """Of the centre of a marked object, along the optical axis of the view in which it is marked."""
    k, middle = centers(one)[color]
    pose = one.pose(k)
    return float((middle - pose[:3, 3]) @ pose[:3, 2])


def length(one: Asked, name: str) -> float:
    """What a family asks for."""
    if name == "depth_prediction_oc_mv":
        return depth(one, "blue")
    if name == "depth_prediction_oo_mv":
        return abs(depth(one, "green") - depth(one, "blue"))
    at = {color: middle for color, (_, middle) in centers(one).items()}
    start = one.pose(0)[:3, 3] if name == "distance_prediction_oc_mv" else at["blue"]
    return float(np.sqrt(((at["red"] - start) ** 2).sum()))


@pytest.mark.parametrize("name", FAMILIES)
def test_against_the_parts_of_the_objects(name):
    for one in asked(name)[0]:
        truth = length(one, name)
        assert one.question.answer == f"{float(one.question.answer[:-2]):.1f} m"
        assert abs(float(one.question.answer[:-2]) - truth) <= 0.05 + 1e-6
        assert one.question.answer in one.question.sentence
        assert one.question.place == pytest.approx(length_place(truth))


@pytest.mark.parametrize("name", FAMILIES)
def test_text_says_neither_names_nor_numbers(name):
    for one in asked(name)[0]:
        assert speaks_of_no_names(one)
        assert not re.search(r"\d\.\d", one.question.text)


@pytest.mark.parametrize("name", FAMILIES[:2])
def test_the_depth_given_stands_beside_the_red_box(name):
    for one in asked(name)[0]:
        labels = {marker.color: marker.label for markers in one.question.markers.values() for marker in markers}
        given = float(re.fullmatch(r".*: (\d+\.\d) m", labels.pop(COLORS["red"]))[1])
        assert abs(given - depth(one, "red")) <= 0.05 + 1e-6
        assert not any(":" in label for label in labels.values())


def test_sides_are_told_apart():
    for one in asked("depth_prediction_oo_mv")[0]:
        deeper = depth(one, "green") > depth(one, "blue")
        assert ("deeper" if deeper else "shallower") in one.question.sentence
        assert abs(depth(one, "green") - depth(one, "blue")) >= 0.3


def test_objects_are_looked_for_beyond_image_1():
    for one in asked("distance_prediction_oc_mv")[0]:
        assert 0 not in one.question.markers


@pytest.mark.parametrize("name", (*FAMILIES, "distance_infer_center_oo_mv", "position_matching"))
def test_scenes_without_objects_are_declined(name):
    empty = FakeGroup(instances=[])
    assert family(name).ask(empty, np.random.default_rng(0)) == Rejection("no_objects")


def test_lengths_differ_by_ratio():
    def of(value: float) -> Question:
        return Question("", f"{value:.1f} m", "", place=length_place(value))

    assert alike(of(1.0), of(1.2))
    assert alike(of(4.0), of(3.3))
    assert not alike(of(1.0), of(1.4))
    assert not alike(of(4.0), of(2.9))


def test_nearer_and_farther():
    for one in asked("distance_infer_center_oo_mv")[0]:
        at = {color: middle for color, (_, middle) in centers(one).items()}
        green, blue = (float(np.linalg.norm(at[color] - at["red"])) for color in ("green", "blue"))
        assert max(green, blue) - min(green, blue) >= 0.3
        assert max(green, blue) / min(green, blue) >= 1.25
        nearer = "green" if green < blue else "blue"
        farther = "blue" if nearer == "green" else "green"
        asks_nearer = re.search("closer to|nearer to", one.question.text) is not None
        assert asks_nearer != bool(re.search("farther from|more distant from", one.question.text))
        assert one.question.answer == (nearer if asks_nearer else farther)
        assert sorted(one.question.options) == ["blue", "green"]
        assert speaks_of_no_names(one)


def test_either_color_is_as_often_right_and_as_often_first():
    questions = [one.question for one in asked("distance_infer_center_oo_mv")[0]]
    for share in (
        np.mean([q.answer == "green" for q in questions]),
        np.mean([q.options[0] == "green" for q in questions]),
        np.mean([q.options[0] == q.answer for q in questions]),
    ):
        assert abs(share - 0.5) < 0.12  # 3.3 standard deviations of 200
