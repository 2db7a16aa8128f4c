"""One standpoint, the camera turned: which object is to your left, to your right or behind you (MindCube, rotation)."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.motion import wrap_degrees
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._candidates import CANDIDATES, clear_in, one_each, side, which
from hatch_data.questions._directions import looks_steeply
from hatch_data.questions._objects import offset

VIEWS = (2, 6)
#: The views are taken within this distance of each other, and differ by this turn.
SPOT_M, LEAST_TURN_DEG = 0.5, 15.0
STEP_DEG = 5
PHRASINGS = (
    "If you are standing at the viewpoint presented in image {k}, which marked object is {side} you?",
    "From the viewpoint presented in image {k}, which of the marked objects is {side} you?",
    "You stand where the images were taken and face what image {k} shows. Which marked object is {side} you?",
)


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of two or three objects marked in the other images; the text says how the camera was turned, as MindCube
    does, so that images that share nothing can be laid side by side.

    Rejected: `no_objects`, `moved` (views more than 0.5 m apart), `not_turned` (two differ by under 15 degrees),
    `looks_steeply`, `too_few_sides` (of those clear in other images, no two objects lie clearly on different sides).
    """
    if not group.instances:
        return Rejection("no_objects")
    motions = [group.motion(i, j) for i, j in combinations(range(len(group)), 2)]
    if any(np.linalg.norm([m.forward_m, m.left_m, m.up_m]) > SPOT_M for m in motions):
        return Rejection("moved")
    if any(abs(m.yaw_deg) < LEAST_TURN_DEG for m in motions):
        return Rejection("not_turned")
    if looks_steeply(group, *range(len(group))):
        return Rejection("looks_steeply")
    k = int(rng.integers(len(group)))
    others = clear_in(group, (i for i in range(len(group)) if i != k), rng)
    found = list(one_each(others, lambda one: side(offset(group, k, one.center))).items())[: len(CANDIDATES)]
    if len(found) < 2:
        return Rejection("too_few_sides")
    (name, right), *rest = (found[i] for i in rng.permutation(len(found)))
    turns = " ".join(turned(group, i) for i in range(1, len(group)))
    question = choose(PHRASINGS, rng).format(k=k + 1, side=name)
    text = f"The images show the same scene from one place. {turns} {question}"
    return which(text, right, [one for _, one in rest], f"is {name} you", rng)


def turned(group: ViewGroup, i: int) -> str:
    """By how much the camera was turned from view i - 1 to view i, in whole steps."""
    yaw = wrap_degrees(group.motion(i - 1, i).yaw_deg)
    way = "left" if yaw > 0 else "right"
    degrees = STEP_DEG * round(abs(yaw) / STEP_DEG)
    return f"Image {i + 1} was taken after turning the camera {degrees} degrees to the {way} from image {i}."
