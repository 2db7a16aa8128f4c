"""Which of several marked objects is nearest to a further one, or to a camera, across views."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._candidates import CANDIDATES, REFERENCE, boxed, clear_in, one_each, which
from hatch_data.questions._objects import BY_CENTERS, CLEAR_RATIO, WORD_M

VIEWS = (2, 8)
TO_OBJECT = (
    "Which of the other marked objects is nearest to {red}?",
    "Of the objects in the other boxes, which one is closest to {red}?",
)
TO_CAMERA = (
    "Which of the marked objects is nearest to the camera of image {k}?",
    "You stand where image {k} was taken. Which of the marked objects is closest to you?",
)


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of two or three objects, by Euclidean distance of centres; for a camera, of those clear in other images.

    Rejected: `no_objects`, `too_few_clear_objects`, `alike` (the second nearest is farther by less than 0.3 m or a
    quarter).
    """
    if not group.instances:
        return Rejection("no_objects")
    k = int(rng.integers(len(group)))
    by_camera = bool(rng.integers(2))
    views = [i for i in range(len(group)) if i != k or not by_camera]
    found = list(one_each(clear_in(group, views, rng), lambda one: str(one.index)).values())
    reference = None if by_camera else found.pop() if found else None
    objects = found[: len(CANDIDATES)]
    if len(objects) < 2:
        return Rejection("too_few_clear_objects")
    place = reference.center if reference else group.world_from_camera(k)[:3, 3]
    objects.sort(key=lambda one: float(np.linalg.norm(one.center - place)))
    near_m, next_m = (float(np.linalg.norm(one.center - place)) for one in objects[:2])
    if next_m < max(near_m + WORD_M, near_m * CLEAR_RATIO):
        return Rejection("alike")
    phrasing = choose(TO_OBJECT if reference else TO_CAMERA, rng)
    text = f"{phrasing.format(k=k + 1, red=boxed(REFERENCE))} {BY_CENTERS}"
    goal = f"the {reference.label} in the {REFERENCE} box" if reference else f"the camera of image {k + 1}"
    return which(text, objects[0], objects[1:], f"is nearest to {goal}", rng, reference)
