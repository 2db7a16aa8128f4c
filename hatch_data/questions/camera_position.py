"""In which direction, in the frame of view 1, stands the camera of view 2."""

from __future__ import annotations

from math import atan2, degrees, hypot

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose

VIEWS = (2, 2)
#: Directions around the camera of view 1, every 45 degrees to the left.
DIRECTIONS = ("front", "front-left", "left", "back-left", "back", "back-right", "right", "front-right")
LEAST_DISTANCE_M = 0.3
#: The true bearing stays this far from the border between two directions.
MARGIN_DEG = 7.5
#: Above this slope (rise over run) "left" or "front" is no fair answer.
GREATEST_SLOPE = 1.0
PHRASINGS = (
    "In which direction from the camera of image 1, as it looks, stands the camera of image 2?",
    "You took image 1 and have not turned. Where is the place from which image 2 was taken?",
    "Relative to the viewpoint and heading of image 1, where was the camera for image 2?",
)
INSTRUCTION = f"Answer with one of: {', '.join(DIRECTIONS)}."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of eight directions.

    Rejected: `too_near` (under 0.3 m), `mostly_vertical`, `on_a_border` (within 7.5 degrees of the next direction).
    """
    motion = group.motion(0, 1)
    distance = hypot(motion.forward_m, motion.left_m)
    if distance < LEAST_DISTANCE_M:
        return Rejection("too_near")
    if abs(motion.up_m) > GREATEST_SLOPE * distance:
        return Rejection("mostly_vertical")
    bearing = degrees(atan2(motion.left_m, motion.forward_m)) % 360
    nearest = round(bearing / 45)
    if abs(bearing - 45 * nearest) > 22.5 - MARGIN_DEG:
        return Rejection("on_a_border")
    truth = DIRECTIONS[nearest % 8]
    sentence = f"As image 1 looks, the camera of image 2 stands to the {truth}."
    return Question(choose(PHRASINGS, rng), truth, sentence, INSTRUCTION)
