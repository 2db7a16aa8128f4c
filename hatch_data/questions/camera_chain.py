"""Where the first camera of a route stands, seen from its last, which hardly shows the same."""

from __future__ import annotations

from math import hypot

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._directions import direction, looks_steeply
from hatch_data.questions._images import label
from hatch_data.questions._routes import indirect_routes

VIEWS = (3, 8)
LEAST_DISTANCE_M = 0.5
#: Places that lie this far apart are different answers.
CLEAR_M = 0.6
PHRASINGS = (
    "You go from the view of {start} by way of {between} to that of {end}. Facing the way {end} does, in which "
    "direction, and at what horizontal distance, is the place from which {start} was taken?",
    "{start} and {end} hardly overlap and are linked by way of {between}. Seen from {end}, in which direction does the "
    "camera of {start} stand, and how far away horizontally?",
    "A camera goes from the view of {start} by way of {between} to that of {end}. Relative to its last heading, where "
    "is the viewpoint of {start} now, and how far away is it in the horizontal plane?",
)
INSTRUCTION = "Answer with direction and horizontal distance, such as 'back-left, 1.8 m'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of eight directions, and the horizontal distance.

    Rejected: `no_route` (see `route_motion`), `looks_steeply` (the last view is pitched by more than 60 degrees),
    `too_near` (under 0.5 m), `mostly_vertical`, `on_a_border` (within 7.5 degrees of the next direction).
    """
    reason = "no_route"
    for route in indirect_routes(group, rng):
        where = _seen_back(group, route)
        if isinstance(where, str):
            return _question(group, route, where, rng)
        reason = where.reason
    return Rejection(reason)


def _seen_back(group: ViewGroup, route: tuple[int, ...]) -> str | Rejection:
    """The direction of a route's first camera from its last, where that is clear."""
    if looks_steeply(group, route[-1]):
        return Rejection("looks_steeply")
    back = group.motion(route[-1], route[0])
    return Rejection("too_near") if hypot(back.forward_m, back.left_m) < LEAST_DISTANCE_M else direction(back)


def _question(group: ViewGroup, route: tuple[int, ...], where: str, rng: np.random.Generator) -> Question:
    back = group.motion(route[-1], route[0])
    distance = hypot(back.forward_m, back.left_m)
    answer = f"{where}, {distance:.1f} m"
    start, *between, end = (label(k) for k in route)
    text = choose(PHRASINGS, rng).format(start=start, end=end, between=" and ".join(between))
    sentence = f"Seen from {end}, the camera of {start} stands to the {where}, {distance:.1f} m away."
    place = back.forward_m / CLEAR_M, back.left_m / CLEAR_M
    return Question(text[0].upper() + text[1:], answer, sentence, INSTRUCTION, key=str(len(route)), place=place)
