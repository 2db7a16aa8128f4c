"""Each family answered again by other means: rays into the exact scene, angles in the plan, dead reckoning."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from math import atan2, cos, degrees, hypot, radians, sin

import numpy as np
import pytest

from hatch_data.actions import ActionLanguage, encode, to_text
from hatch_data.correspondence import correspond
from hatch_data.errors import SettingsError
from hatch_data.motion import Motion, motion_between
from hatch_data.patches import token_grid
from hatch_data.questions import FAMILIES, LETTERS, Question, Rejection, ViewPair, choice, family
from hatch_data.scans import synthetic
from hatch_data.scans.rooms.walk import UP
from hatch_data.scans.synthetic import SyntheticScene
from hatch_data.views import prepare

WANTED = 200


@dataclass(frozen=True)
class Asked:
    """A question about frames `first` and `second` of a scene."""

    scene: SyntheticScene
    first: int
    second: int
    question: Question


@cache
def pairs() -> list[tuple[SyntheticScene, int, int, ViewPair]]:
    """Pairs of near frames of synthetic scenes, all that is known about them."""
    found = []
    for index in range(4):
        scene = synthetic.make(index, frames=30, width=224, height=168)
        views = [prepare(frame) for frame in scene.scene().frames]
        grid = token_grid(168, 224)
        for i in range(len(views)):
            for j in (i - 3, i - 1, i + 1, i + 2):
                if 0 <= j < len(views):
                    there = correspond(views[i], views[j], grid, grid)
                    back = correspond(views[j], views[i], grid, grid)
                    motion = motion_between(scene.world_from_camera[i], scene.world_from_camera[j], UP)
                    actions = to_text(encode(motion, ActionLanguage()))
                    found.append((scene, i, j, ViewPair(there, back, motion, actions)))
    return found


@cache
def asked(name: str) -> tuple[list[Asked], Counter[str]]:
    """`WANTED` questions of a family and what it declined by reason."""
    questions: list[Asked] = []
    declined: Counter[str] = Counter()
    for seed in range(4):
        for k, (scene, i, j, views) in enumerate(pairs()):
            answer = family(name).ask(views, np.random.default_rng([seed, k]))
            if isinstance(answer, Rejection):
                declined[answer.reason] += 1
            else:
                questions.append(Asked(scene, i, j, answer))
            if len(questions) == WANTED:
                return questions, declined
    raise AssertionError(f"only {len(questions)} questions of {name}, declined {declined}")


def test_patch_match_against_rays():
    """Of the surface behind the marked box most is seen inside the box of the answer, and more than in any other."""
    for one in asked("patch_match")[0]:
        camera, goal = one.scene.camera, one.scene.world_from_camera[one.second]
        (marker,) = one.question.markers[0]
        left, top, right, bottom = np.multiply(marker.box, (camera.width, camera.height) * 2)
        share = (np.arange(24) + 0.5) / 24
        u, v = np.meshgrid(left + share * (right - left) - 0.5, top + share * (bottom - top) - 0.5)
        points = one.scene.surface(one.first, np.stack([u, v], axis=-1)).points.reshape(-1, 3)
        seen = one.scene.visible_from(points, goal, camera)
        there = (points - goal[:3, 3]) @ goal[:3, :3]
        x = (there[:, 0] / there[:, 2] * camera.fx + camera.cx + 0.5) / camera.width
        y = (there[:, 1] / there[:, 2] * camera.fy + camera.cy + 0.5) / camera.height
        inside = [
            float((seen & (x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])).mean())
            for box in (candidate.box for candidate in one.question.markers[1])
        ]
        answer = LETTERS.index(one.question.answer)
        assert inside[answer] > 0.4
        assert sorted(inside)[-2] < 0.05


def test_camera_position_against_angles_in_the_plan():
    names = ("front", "front-left", "left", "back-left", "back", "back-right", "right", "front-right")
    for one in asked("camera_position")[0]:
        first, second = (one.scene.world_from_camera[k] for k in (one.first, one.second))
        east, north = second[:2, 3] - first[:2, 3]
        bearing = degrees(atan2(north, east) - atan2(first[1, 2], first[0, 2]))
        told = names.index(one.question.options[LETTERS.index(one.question.answer)])
        off = (bearing - 45 * told + 180) % 360 - 180
        assert abs(off) <= 22.5 - 7.5 + 1e-9
        assert hypot(east, north) >= 0.3
        assert len(set(one.question.options)) == 4


def test_camera_motion_against_dead_reckoning():
    """A camera at (0, 0, 0) that heads along x does what the text says; it ends where camera 2 stands, in plan."""
    for one in asked("camera_motion")[0]:
        x, y, z, heading, pitch, roll = (0.0,) * 6
        for verb, way, number in re.findall(r"(move|turn|roll)_(\w+) ([\d.]+)(?:m|deg)", one.question.answer):
            value = float(number) * (-1 if way in ("backward", "right", "down") else 1)
            if verb == "move" and way in ("up", "down"):
                z += value
            elif verb == "move":
                aside = 90 if way in ("left", "right") else 0
                x += value * cos(radians(heading + aside))
                y += value * sin(radians(heading + aside))
            elif verb == "roll":
                roll += value
            elif way in ("up", "down"):
                pitch += value
            else:
                heading += value
        first, second = (one.scene.world_from_camera[k] for k in (one.first, one.second))
        start, end = orientation(first), orientation(second)
        back = np.array(
            [[cos(radians(start[0])), sin(radians(start[0]))], [-sin(radians(start[0])), cos(radians(start[0]))]]
        )
        moved = second[:3, 3] - first[:3, 3]
        assert np.abs(back @ moved[:2] - (x, y)).max() <= 0.05 + 1e-6
        assert abs(moved[2] - z) <= 0.05 + 1e-6
        for told, before, after in zip((heading, pitch, roll), start, end, strict=True):
            assert abs((after - before - told + 180) % 360 - 180) <= 2.5 + 1e-6
        assert one.question.form == "fill"
        assert one.question.options == []


def orientation(world_from_camera: np.ndarray) -> tuple[float, float, float]:
    """Heading, pitch and roll in degrees in a world whose z is up: roll counter-clockwise as the observer sees it."""
    right, down, forward = world_from_camera[:3, :3].T
    heading = degrees(atan2(forward[1], forward[0]))
    return heading, degrees(np.arcsin(forward[2])), degrees(atan2(right[2], -down[2]))


@pytest.mark.parametrize("name", ["patch_match", "camera_position"])
def test_letters_are_even(name):
    letters = Counter(one.question.answer for one in asked(name)[0])
    assert sum((letters[letter] - WANTED / 4) ** 2 / (WANTED / 4) for letter in "ABCD") < 16.3  # chi-square, 0.1 %


def test_choice_puts_the_truth_anywhere():
    rng = np.random.default_rng(0)
    letters: Counter[str] = Counter()
    for _ in range(2000):
        question = choice("Which?", "this", ["p", "q", "r"], rng)
        letters[question.answer] += 1
        assert question.options[LETTERS.index(question.answer)] == "this"
        assert f"{question.answer}. this" in question.text.splitlines()
    assert set(letters) == set("ABCD")
    assert all(abs(n - 500) < 100 for n in letters.values())


def test_text_options_and_markers_belong_together():
    for one in asked("patch_match")[0]:
        assert one.question.options == ["box A", "box B", "box C", "box D"]
        assert [marker.label for marker in one.question.markers[1]] == list("ABCD")
        assert len({marker.color for marker in one.question.markers[0] + one.question.markers[1]}) == 5
        lines = one.question.text.splitlines()
        assert all(f"{letter}. box {letter}" in lines for letter in "ABCD")


def test_a_question_is_the_same_for_the_same_seed():
    views = pairs()[5][3]
    for name in FAMILIES:
        once, again = (family(name).ask(views, np.random.default_rng(7)) for _ in range(2))
        assert once == again
    texts = {one.question.text for one in asked("camera_motion")[0]}
    assert len(texts) == 4


def with_motion(**parts: float) -> ViewPair:
    return replace(pairs()[0][3], motion=Motion(**parts))


def test_what_has_no_clear_answer_is_declined():
    rng = np.random.default_rng(0)
    position = family("camera_position").ask
    assert position(with_motion(forward_m=0.2, left_m=0.2), rng) == Rejection("too_near")
    assert position(with_motion(forward_m=0.5, up_m=-0.6), rng) == Rejection("mostly_vertical")
    for bearing in (22.5, 16, 29, -67.5, 157.5, -160):
        on_border = with_motion(forward_m=cos(radians(bearing)), left_m=sin(radians(bearing)))
        assert position(on_border, rng) == Rejection("on_a_border")
    still = replace(pairs()[0][3], actions="stay")
    assert family("camera_motion").ask(still, rng) == Rejection("no_motion")
    views = pairs()[0][3]
    there = views.first_to_second
    nothing = replace(
        there.map, **{name: getattr(there.map, name)[:0] for name in ("source_patch", "target_patch", "weight")}
    )
    unseen = replace(views, first_to_second=replace(there, map=nothing))
    assert family("patch_match").ask(unseen, rng) == Rejection("no_clear_match")
    back = views.second_to_first
    empty = replace(back.map, valid=np.zeros_like(back.map.valid))
    bare = replace(views, second_to_first=replace(back, map=empty))
    assert family("patch_match").ask(bare, rng) == Rejection("no_room_for_candidates")


def test_families_decline_on_real_walks_too():
    assert asked("camera_position")[1].keys() <= {"too_near", "mostly_vertical", "on_a_border"}
    assert asked("camera_position")[1]["on_a_border"] > 0
    assert asked("patch_match")[1].keys() <= {"no_clear_match", "no_room_for_candidates"}


def test_an_unknown_family_names_the_nearest():
    with pytest.raises(SettingsError, match=r"unknown family 'patch_mtch'; did you mean 'patch_match'\?"):
        family("patch_mtch")
    with pytest.raises(SettingsError, match="families: patch_match, camera_motion, camera_position"):
        family("xyzzy")
