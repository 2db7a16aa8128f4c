"""How far from the camera of one view is a point marked in another."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._points import draw_points, length_place, two_views

VIEWS = (2, 4)
LEAST_M = 0.3
PHRASINGS = (
    "How far, in meters, is the point marked red in image {i} from the camera of image {j}?",
    "A red point is marked in image {i}. What is its distance in meters from where image {j} was taken?",
    "You stand where image {j} was taken. How many meters, in a straight line, is it to the red point of image {i}?",
)
INSTRUCTION = "Answer in meters, such as '1.25 m'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Metres, in a straight line.

    Rejected: `no_trusted_depth` (see `point_depth`), `too_near` (under 0.3 m).
    """
    i, j = two_views(group, rng)
    points = draw_points(group, i, rng)
    if not points:
        return Rejection("no_trusted_depth")
    point = points[0]
    distance = point.distance_m(group.world_from_camera(j)[:3, 3])
    if distance < LEAST_M:
        return Rejection("too_near")
    answer = f"{distance:.2f} m"
    sentence = f"The red point in image {i + 1} is {answer} from the camera of image {j + 1}."
    text = choose(PHRASINGS, rng).format(i=i + 1, j=j + 1)
    place = length_place(distance)
    return Question(text, answer, sentence, INSTRUCTION, place=place, markers={i: [point.marker()]})
