"""Views around an object: which other object is to your left, to your right or behind you in one of them (MindCube,
around)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._candidates import (
    AGAIN_SHARE,
    CANDIDATES,
    REFERENCE,
    boxed,
    clear_in,
    evident,
    one_each,
    side,
    spread_deg,
    which,
)
from hatch_data.questions._directions import looks_steeply
from hatch_data.questions._objects import clear, offset, unique

VIEWS = (2, 6)
#: From the object, some two of the views lie in directions that differ by this.
LEAST_SPREAD_DEG = 30.0
PHRASINGS = (
    "If you are standing at the viewpoint presented in image {k}, which other marked object is {side} you?",
    "From the viewpoint presented in image {k}, which of the other marked objects is {side} you?",
    "Of the other marked objects, which is {side} you when you stand where image {k} was taken and look the same way?",
)


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of two or three objects marked in the other images, about an observer who looks at what all images show.

    Rejected: `no_objects`, `looks_steeply`, `no_common_object` (none that is clear in the view asked about, the only
    one of its name, and evident in all, from sides at least 30 degrees apart), `too_few_sides` (of those clear in other
    images, no two objects lie clearly on different sides).
    """
    if not group.instances:
        return Rejection("no_objects")
    if looks_steeply(group, *range(len(group))):
        return Rejection("looks_steeply")
    k = int(rng.integers(len(group)))
    elsewhere = [i for i in range(len(group)) if i != k]
    middles = [
        one
        for one in clear(group, k)
        if all(one.index in evident(group, i, AGAIN_SHARE) for i in elsewhere)
        and spread_deg(group, one.center) >= LEAST_SPREAD_DEG
        and unique(group, one)
    ]
    if not middles:
        return Rejection("no_common_object")
    middle = middles[int(rng.integers(len(middles)))]
    others = [one for one in clear_in(group, elsewhere, rng) if one.index != middle.index]
    found = list(one_each(others, lambda one: side(offset(group, k, one.center)), [middle]).items())[: len(CANDIDATES)]
    if len(found) < 2:
        return Rejection("too_few_sides")
    (name, right), *rest = (found[i] for i in rng.permutation(len(found)))
    question = choose(PHRASINGS, rng).format(k=k + 1, side=name)
    text = f"The images show {boxed(REFERENCE)} from different viewpoints. {question}"
    return which(text, right, [one for _, one in rest], f"is {name} you", rng, middle)
