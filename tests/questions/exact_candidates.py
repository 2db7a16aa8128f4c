"""Groups of the kinds that `hatch_data.sampling` grows, and plain angles: for checkers of questions about objects."""

from __future__ import annotations

from collections import Counter
from functools import cache
from math import atan2, degrees

import numpy as np

from hatch_data.covisibility import covisibility, summarise
from hatch_data.group import SceneViews, ViewGroup
from hatch_data.questions import Rejection, family
from hatch_data.recipe import DataRecipe, GroupKind, GroupSettings, PairSettings
from hatch_data.sampling import grow_groups, select_pairs
from hatch_data.scans.synthetic import SyntheticScene
from hatch_data.views import ViewStore, prepare
from tests.questions.asked import WANTED, Asked, scenes
from tests.questions.exact_objects import objects, shown

#: Times that all groups are asked, each with other random numbers.
MOST_ROUNDS = 40
STAND_M, EYE_M, TURNS = 2.0, 1.5, 12


@cache
def circled() -> list[tuple[SyntheticScene, SceneViews]]:
    """Synthetic scenes whose frames look, from all sides in a room, at something that stands in it."""
    found = []
    for exact, _ in scenes()[:3]:
        poses = [pose for one in exact.instances for pose in around(exact, one.world_from_box[:3, 3])][:28]
        circling = SyntheticScene(exact.index, exact.furnished, exact.camera, poses)
        scene, views = circling.scene(), ViewStore()
        for frame in scene.frames:
            views.append(prepare(frame))
        found.append((circling, SceneViews(scene, scene.frames, views, DataRecipe())))
    return found


def around(exact: SyntheticScene, middle: np.ndarray) -> list[np.ndarray]:
    """Poses in the room of a place that look at it level, some metres off, in the clear; none where there are few."""
    poses = []
    for turn in range(TURNS):
        heading = 2 * np.pi * turn / TURNS
        ahead = np.array([np.cos(heading), np.sin(heading), 0.0])
        pose = np.eye(4)
        pose[:3, :3] = np.stack([np.cross(ahead, [0, 0, 1]), [0, 0, -1], ahead], axis=1)
        pose[:3, 3] = [*(middle - STAND_M * ahead)[:2], EYE_M]
        if exact.visible_from(pose[:3, 3] + np.array([[0, 0, -0.5]]) + 1.2 * ahead, pose, exact.camera)[0]:
            poses.append(pose)
    return poses if len(poses) >= 4 else []


@cache
def grown(kind: GroupKind, least: int, most: int) -> list[tuple[SyntheticScene, ViewGroup]]:
    """Groups of `least` (3 or more) to `most` views; those that orbit are of `circled` scenes."""
    found = []
    pairing, sizes = PairSettings(per_frame=4), dict.fromkeys(range(least, most + 1), 1.0)
    for exact, views in circled() if kind == "orbit" else scenes():
        covisible = covisibility([summarise(views.views[k]) for k in range(len(views.frames))])
        poses, part = np.stack(exact.world_from_camera), np.zeros(len(views.frames), int)
        rng = np.random.default_rng(exact.index)
        pairs, _ = select_pairs(covisible, poses, part, pairing, rng)
        settings = pairing, GroupSettings(sizes=sizes, kinds={kind: 1})
        groups, _ = grow_groups(pairs, covisible, poses, part, settings, rng)
        found += [(exact, views.group(indices)) for indices in groups]
    return found


@cache
def asked_in(name: str, kind: GroupKind, wanted: int = WANTED) -> tuple[list[Asked], Counter[str]]:
    """`wanted` questions of a family about groups of a kind, and what it declined, by reason."""
    questions: list[Asked] = []
    declined: Counter[str] = Counter()
    for turn in range(MOST_ROUNDS):
        for exact, group in grown(kind, max(family(name).VIEWS[0], 3), family(name).VIEWS[1]):
            answer = family(name).ask(group, np.random.default_rng([turn, *group.indices]))
            if isinstance(answer, Rejection):
                declined[answer.reason] += 1
            else:
                questions.append(Asked(exact, group, answer))
            if len(questions) == wanted:
                return questions, declined
    raise AssertionError(f"only {len(questions)} questions of {name}, declined {declined}")


def angle(a: np.ndarray, b: np.ndarray) -> float:
    """From one direction in the plan to another, counter-clockwise, in [0, 360)."""
    return degrees(atan2(b[1], b[0]) - atan2(a[1], a[0])) % 360


def off(a: float, b: float) -> float:
    """How far two angles in degrees are apart."""
    return abs((a - b + 180) % 360 - 180)


def share(one: Asked, k: int, index: int) -> float:
    """Share of view k whose rays meet an object."""
    return float((shown(one, k) == index).mean())


def colors_mean_nothing(questions: list[Asked]) -> bool:
    """Whether each place among the options, and each color, is about as often right as it is there (4 sigma)."""
    right, expected = Counter[str](), Counter[str]()
    variance = Counter[str]()
    for one in questions:
        options = one.question.options
        for k, option in enumerate(options):
            for name in (f"place {k}", option):
                expected[name] += 1 / len(options)
                variance[name] += (1 - 1 / len(options)) / len(options)
                right[name] += option == one.question.answer
    return all(abs(right[name] - expected[name]) <= 4 * variance[name] ** 0.5 for name in expected)


def tells_no_image(one: Asked) -> bool:
    """Whether the text leaves out in which image a box is, and all boxes of the options are there."""
    told = [f"box in image {k + 1}" in one.question.text for k in range(len(one.group))]
    return not any(told) and set(one.question.options) <= set(objects(one))
