"""How far apart are two points marked in two views."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._points import CANDIDATE_COLORS, draw_points, length_place, two_views

VIEWS = (2, 4)
LEAST_M = 0.3
PHRASINGS = (
    "How far apart, in meters, are point A marked in image {i} and point B marked in image {j}?",
    "Point A is marked in image {i} and point B in image {j}. What is the straight-line distance between them in "
    "meters?",
    "Estimate the distance in meters from point A in image {i} to point B in image {j}.",
)
INSTRUCTION = "Answer in meters, such as '1.25 m'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Metres, in a straight line.

    Rejected: `no_trusted_depth` (see `point_depth`), `too_near` (under 0.3 m apart).
    """
    i, j = two_views(group, rng)
    first, second = draw_points(group, i, rng), draw_points(group, j, rng)
    if not first or not second:
        return Rejection("no_trusted_depth")
    a, b = first[0], second[0]
    distance = a.distance_m(b.world)
    if distance < LEAST_M:
        return Rejection("too_near")
    answer = f"{distance:.2f} m"
    sentence = f"Point A in image {i + 1} and point B in image {j + 1} are {answer} apart."
    text = choose(PHRASINGS, rng).format(i=i + 1, j=j + 1)
    markers = {i: [a.marker("A", CANDIDATE_COLORS[0])], j: [b.marker("B", CANDIDATE_COLORS[2])]}
    return Question(text, answer, sentence, INSTRUCTION, place=length_place(distance), markers=markers)
