"""In which direction, in the frame of view 1, stands the camera of view 2."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._directions import DIRECTIONS, direction

VIEWS = (2, 2)
PHRASINGS = (
    "Seen from image 1, in which direction does the camera of image 2 stand?",
    "You took image 1 and have not turned. Where is the place from which image 2 was taken?",
    "Relative to the viewpoint and heading of image 1, where was the camera of image 2?",
)
INSTRUCTION = f"Answer with one of: {', '.join(DIRECTIONS)}."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of eight directions.

    Rejected: `too_near` (under 0.3 m), `mostly_vertical`, `on_a_border` (within 7.5 degrees of the next direction).
    """
    truth = direction(group.motion(0, 1))
    if isinstance(truth, Rejection):
        return truth
    sentence = f"Seen from image 1, the camera of image 2 stands to the {truth}."
    return Question(choose(PHRASINGS, rng), truth, sentence, INSTRUCTION)
