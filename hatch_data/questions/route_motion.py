"""The motion between two views that hardly overlap, step by step through the views between them."""

from __future__ import annotations

from dataclasses import astuple
from itertools import pairwise

import numpy as np

from hatch_data.actions import to_text
from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._images import label
from hatch_data.questions._routes import indirect_routes
from hatch_data.questions.camera_motion import CLEAR_DEG, CLEAR_M

VIEWS = (3, 8)
PHRASINGS = (
    "{start} and {end} hardly overlap. Which actions lead from {start} by way of {between} to {end}, step by step?",
    "A camera goes from the view of {start} by way of {between} to the view of {end}. Give the actions of each step.",
    "Lead me from {start} to {end}, stopping at {between}: what must be done on each part of the way?",
)
INSTRUCTION = (
    "List the actions of each step, such as 'step 1: move_forward 0.5m, turn_left 30deg; step 2: turn_left 45deg'."
)
#: A component of a motion -> how many clear differences it is worth.
_SCALE = np.array([1 / CLEAR_M] * 3 + [1 / CLEAR_DEG] * 3)


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One list of actions for each step of a route.

    Rejected: `no_route` (no two views that share less than a tenth are joined by views that share a fifth with the
    next), `no_motion` (a step without any).
    """
    routes = indirect_routes(group, rng)
    if not routes:
        return Rejection("no_route")
    route = routes[0]
    steps = [to_text(group.actions(a, b)) for a, b in pairwise(route)]
    if "stay" in steps:
        return Rejection("no_motion")
    answer = "; ".join(f"step {number}: {actions}" for number, actions in enumerate(steps, 1))
    start, *between, end = (label(k) for k in route)
    names = {"start": start, "end": end, "between": " and ".join(between)}
    text = choose(PHRASINGS, rng).format(**names)
    motions = np.concatenate([_SCALE * astuple(group.motion(a, b)) for a, b in pairwise(route)])
    sentence = f"From {start} by way of {names['between']} to {end} the camera does this: {answer}."
    return Question(
        text[0].upper() + text[1:], answer, sentence, INSTRUCTION, key=str(len(steps)), place=tuple(motions.tolist())
    )
