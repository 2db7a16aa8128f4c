"""Which object is nearest, how large it is, how many there are, when they appear: from the exact scene."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hatch_data.questions import Rejection, family
from hatch_data.scene import Instance
from tests.questions.asked import Asked, FakeGroup, asked
from tests.questions.exact_candidates import colors_mean_nothing, share, tells_no_image
from tests.questions.exact_objects import centers, objects, speaks_of_no_names
from tests.questions.plan import images

FAMILIES = ("nearest_object", "object_size", "object_count", "appearance_order")


def test_the_nearest_is_nearest_by_a_clear_margin():
    met = Counter()
    for one in asked("nearest_object")[0]:
        at = centers(one)
        named = images(one.question.text)
        met["camera" if named else "object"] += 1
        place = one.pose(named[0])[:3, 3] if named else at["red"][1]
        far = {color: float(np.linalg.norm(at[color][1] - place)) for color in one.question.options}
        first, second, *_ = sorted(far, key=far.__getitem__)
        assert one.question.answer == first
        assert far[second] >= max(far[first] + 0.3, 1.25 * far[first]) - 1e-6
        assert not named or all(at[color][0] != named[0] for color in one.question.options)
        assert f"in the {first} box is nearest to " in one.question.sentence
    assert min(met["camera"], met["object"]) > 50


def corners(one: Asked, index: int) -> np.ndarray:
    """(n, 3) corners of the parts that an object is made of."""
    furnished = one.scene.furnished
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    return np.concatenate(
        [
            furnished.boxes.center[p] + (signs * furnished.boxes.half[p]) @ furnished.boxes.world_from_local(p).T
            for p in np.flatnonzero(furnished.instance == index)
        ]
    )


def test_sizes_are_those_of_the_parts():
    met = Counter()
    for one in asked("object_size")[0]:
        k, index = objects(one)["red"]
        points = corners(one, index)
        if one.question.key == "height":
            value = np.ptp(points[:, 2])
        else:
            turn = one.scene.instances[index].world_from_box[:2, :2]
            value = np.ptp(points[:, :2] @ turn, axis=0).max()
        met[one.question.key] += 1
        assert abs(float(one.question.answer.removesuffix(" m")) - value) <= 0.0051
        assert one.question.answer in one.question.sentence
        assert any(share(one, other, index) > 0.002 for other in range(len(one.group)) if other != k)
        words = {"height": ("high", "height", "vertical"), "length": ("long", "horizontal")}[one.question.key]
        assert any(word in one.question.text for word in words)
    assert min(met["height"], met["length"]) > 50


def test_objects_are_counted_once():
    for one in asked("object_count")[0]:
        label = one.question.key
        assert f"'{label}'" in one.question.text
        of_kind = [index for index, found in enumerate(one.scene.instances) if found.label == label]
        most = {index: max(share(one, k, index) for k in range(len(one.group))) for index in of_kind}
        counted = [index for index, value in most.items() if value > 0.002]
        assert one.question.answer == str(len(counted))
        # What is not counted is not to be seen.
        assert all(value <= 0.001 for index, value in most.items() if index not in counted)
        kinds = "1 object" if len(counted) == 1 else f"{len(counted)} different objects"
        assert f" {kinds} of the kind " in one.question.sentence
    assert len({one.question.answer for one in asked("object_count")[0]}) >= 3


def test_objects_appear_in_order():
    for one in asked("appearance_order")[0]:
        found = objects(one)
        first = {}
        for color, (marked_in, index) in found.items():
            shares = [share(one, k, index) for k in range(len(one.group))]
            first[color] = next(k for k, value in enumerate(shares) if value > 0.002)
            assert max(shares[: first[color]], default=0.0) <= 0.001
            assert marked_in >= first[color]
        assert one.question.answer == ", ".join(sorted(first, key=first.__getitem__))
        assert len(set(first.values())) == len(first)
        assert any(found[color][0] != k for color, k in first.items())
        assert one.question.answer in one.question.options
        assert len(set(one.question.options)) == len(one.question.options) == {2: 2, 3: 4}[len(first)]


def test_no_order_and_no_place_is_more_often_right():
    questions = [one.question for one in asked("appearance_order")[0]]
    right = Counter(question.options.index(question.answer) for question in questions)
    expected = sum(1 / len(question.options) for question in questions)
    assert abs(right[0] - expected) <= 4 * expected**0.5
    starts = Counter(question.answer.split(",")[0] for question in questions)
    assert max(starts.values()) - min(starts.values()) < 50


def test_neither_place_nor_color_nor_text_tells():
    assert colors_mean_nothing(asked("nearest_object")[0])
    assert all(tells_no_image(one) for one in asked("nearest_object")[0])
    for name in ("nearest_object", "object_size", "appearance_order"):
        assert all(speaks_of_no_names(one) for one in asked(name)[0])


@pytest.mark.parametrize("name", FAMILIES)
def test_what_has_no_clear_answer_is_declined(name):
    assert family(name).ask(FakeGroup(instances=[]), np.random.default_rng(0)) == Rejection("no_objects")
    allowed = {
        "nearest_object": {"too_few_clear_objects", "alike"},
        "object_size": {"too_few_clear_objects", "seen_once", "tilted", "too_small"},
        "object_count": {"seen_once", "half_seen", "like_another_label"},
        "appearance_order": {"too_few_appear", "marked_at_once"},
    }[name]
    assert asked(name)[1].keys() <= allowed


def test_a_tilted_box_has_no_height():
    upright = Instance("0", "box", np.eye(4), np.array([1.0, 0.5, 0.25]))
    sizes = family("object_size").upright_sizes
    assert sizes(upright, np.array([0.0, 0.0, 1.0])) == {"height": 0.25, "length": 1.0}
    assert sizes(upright, np.array([0.0, -1.0, 0.0])) == {"height": 0.5, "length": 1.0}
    assert sizes(upright, np.array([0.0, 0.6, 0.8])) is None


@pytest.mark.parametrize("label", ["books", "curtains", "room window", "Door"])
def test_what_is_one_of_them_is_not_clear(label):
    assert not family("object_count").is_countable(label)


@pytest.mark.parametrize("label", ["glass", "chair", "picture"])
def test_what_can_be_counted(label):
    assert family("object_count").is_countable(label)
