"""Which turn about the vertical makes the camera of one view face a point marked in another."""

from __future__ import annotations

from math import atan2, cos, degrees, hypot, radians, sin

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._points import draw_points, two_views

VIEWS = (2, 4)
STEP_DEG = 5
#: Turns that differ by this much are different answers.
CLEAR_DEG = 15.0
LEAST_TURN_DEG, GREATEST_TURN_DEG = 10.0, 165.0
LEAST_DISTANCE_M = 0.4
#: A camera that looks up or down by more than this has no clear heading.
GREATEST_PITCH_DEG = 60.0
PHRASINGS = (
    "A red point is marked in image {i}. By how much must the camera of image {j} turn left or right to face it?",
    "You stand where image {j} was taken and look the same way. "
    "Which turn to the left or to the right makes you face the red point of image {i}?",
    "Which horizontal turn of the camera of image {j} brings the place marked red in image {i} straight ahead?",
)
INSTRUCTION = "Answer with the turn in degrees, to the nearest 5, such as 'turn_left 40deg'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """A turn about the vertical, in words of the action language, in steps of 5 degrees.

    Rejected: `no_trusted_depth` (see `point_depth`), `no_clear_heading` (the camera looks up or down by more than 60
    degrees), `too_near` (under 0.4 m from the camera in plan), `straight_ahead` (within 10 degrees), `straight_behind`
    (within 15 degrees).
    """
    i, j = two_views(group, rng)
    if abs(group.stance(j).pitch_deg) > GREATEST_PITCH_DEG:
        return Rejection("no_clear_heading")
    points = draw_points(group, i, rng)
    if not points:
        return Rejection("no_trusted_depth")
    point = points[0]
    forward, left, _ = group.from_view(j, point.world).tolist()
    if hypot(forward, left) < LEAST_DISTANCE_M:
        return Rejection("too_near")
    turn = degrees(atan2(left, forward))
    if abs(turn) < LEAST_TURN_DEG:
        return Rejection("straight_ahead")
    if abs(turn) > GREATEST_TURN_DEG:
        return Rejection("straight_behind")
    side = "left" if turn > 0 else "right"
    answer = f"turn_{side} {STEP_DEG * round(abs(turn) / STEP_DEG)}deg"
    sentence = f"To face the red point of image {i + 1}, the camera of image {j + 1} has to do this: {answer}."
    text = choose(PHRASINGS, rng).format(i=i + 1, j=j + 1)
    # On a circle on which `CLEAR_DEG` are one unit, as the crow flies.
    radius = 0.5 / sin(radians(CLEAR_DEG / 2))
    place = (radius * cos(radians(turn)), radius * sin(radians(turn)))
    return Question(text, answer, sentence, INSTRUCTION, place=place, markers={i: [point.marker()]})
