"""By how many degrees the camera turned to the left or right from view 1 to view 2."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._directions import looks_steeply

VIEWS = (2, 2)
STEP_DEG = 5
#: Turns that differ by this much are different answers; those between left and right by half a turn are not asked.
CLEAR_DEG = 15.0
LEAST_TURN_DEG, GREATEST_TURN_DEG = 10.0, 165.0
PHRASINGS = (
    "How far, and to which side, did the camera turn about the vertical between image 1 and image 2?",
    "From the heading of image 1 to the heading of image 2: by how many degrees did the camera turn left or right?",
    "The camera took image 1 and then image 2. What is its horizontal turn (yaw), in degrees to the left or right?",
)
INSTRUCTION = "Answer with degrees, to the nearest 5, and side, such as '35 degrees to the left'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """A signed angle in steps of five degrees.

    Rejected: `looks_steeply` (a view is pitched by more than 60 degrees), `small_turn` (under 10 degrees),
    `near_half_turn` (over 165 degrees).
    """
    if looks_steeply(group, 0, 1):
        return Rejection("looks_steeply")
    yaw = group.motion(0, 1).yaw_deg
    if abs(yaw) < LEAST_TURN_DEG:
        return Rejection("small_turn")
    if abs(yaw) > GREATEST_TURN_DEG:
        return Rejection("near_half_turn")
    answer = f"{STEP_DEG * round(abs(yaw) / STEP_DEG)} degrees to the {'left' if yaw > 0 else 'right'}"
    sentence = f"From image 1 to image 2 the camera turned {answer}."
    return Question(choose(PHRASINGS, rng), answer, sentence, INSTRUCTION, place=(yaw / CLEAR_DEG,))
