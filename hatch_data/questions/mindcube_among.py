"""An object among others: which of them is to its left, its right, before or behind it from one of the viewpoints
(MindCube, among)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._candidates import CANDIDATES, REFERENCE, boxed, clear_in, evident, one_each, side, which
from hatch_data.questions._objects import Seen, clear, horizontal_m, in_front, offset_facing

VIEWS = (2, 6)
#: The observer is at least this far from the middle object, in the plan: else there is no line of sight to speak of.
LEAST_AWAY_M = 0.8
PHRASINGS = (
    "From the viewpoint presented in image {k}, which other marked object is {side} {red}?",
    "Seen from where image {k} was taken, which of the other marked objects is {side} {red}?",
    "You stand at the viewpoint of image {k} and face {red}. Which marked object is {side} it?",
)
HINT = "Along the line from you to it, in front of it means nearer to you, and behind it means farther away."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of two or three objects marked in other images, in the plan, along the line of sight to the red one.

    Rejected: `no_objects`, `no_middle_object` (none that is clear in the view asked about, 0.8 m away, and evident
    in another), `too_few_sides` (of those clear in other images and before the observer, no two lie clearly on
    different sides of it).
    """
    if not group.instances:
        return Rejection("no_objects")
    k = int(rng.integers(len(group)))
    stand, up = group.world_from_camera(k)[:3, 3], group.up
    elsewhere = [i for i in range(len(group)) if i != k]
    middles = [
        one
        for one in clear(group, k)
        if horizontal_m(stand, one.center, up) >= LEAST_AWAY_M
        and any(one.index in evident(group, i) for i in elsewhere)
    ]
    if not middles:
        return Rejection("no_middle_object")
    middle = middles[int(rng.integers(len(middles)))]
    others = [one for one in clear_in(group, elsewhere, rng) if one.index != middle.index]
    there = offset_facing(stand, middle.center, up, middle.center)

    def side_of_middle(one: Seen) -> str | None:
        here = offset_facing(stand, middle.center, up, one.center)
        if not in_front(here):
            return None  # behind the observer, who would call it neither in front of the middle nor beside it
        right, upward, beyond = here - there
        return side(np.array([right, upward, -beyond]))  # what is nearer to the observer is in front

    found = list(one_each(others, side_of_middle).items())[: len(CANDIDATES)]
    if len(found) < 2:
        return Rejection("too_few_sides")
    (name, right), *rest = (found[i] for i in rng.permutation(len(found)))
    text = choose(PHRASINGS, rng).format(k=k + 1, side=name, red=boxed(REFERENCE))
    saying = f"is {name} the {middle.label} in the {REFERENCE} box, seen from image {k + 1}"
    return which(f"{text} {HINT}", right, [one for _, one in rest], saying, rng, middle)
