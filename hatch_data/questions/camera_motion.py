"""Which motion leads from view 1 to view 2, as actions."""

from __future__ import annotations

import numpy as np

from hatch_data.actions import to_text
from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose

VIEWS = (2, 2)
#: Action lists that differ by this much, in any of the six components, are different answers.
CLEAR_M, CLEAR_DEG = 0.3, 15.0
PHRASINGS = (
    "Which actions lead from the view of image 1 to the view of image 2?",
    "The camera took image 1, then moved and took image 2. Give the turns and moves it made.",
    "You stand where image 1 was taken and look the same way. What must you do to see what image 2 shows?",
    "Describe the camera motion between image 1 and image 2 as a list of actions.",
)
INSTRUCTION = (
    "List the actions in the order in which they are done, such as "
    "'move_forward 0.5m, turn_left 30deg', or 'stay' if there is no motion."
)


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Views that do not differ by a step are rejected as `no_motion`."""
    answer = to_text(group.actions(0, 1))
    if answer == "stay":
        return Rejection("no_motion")
    motion = group.motion(0, 1)
    moves = (motion.forward_m / CLEAR_M, motion.left_m / CLEAR_M, motion.up_m / CLEAR_M)
    turns = (motion.yaw_deg / CLEAR_DEG, motion.pitch_deg / CLEAR_DEG, motion.roll_deg / CLEAR_DEG)
    sentence = f"From image 1 to image 2 the camera does this: {answer}."
    return Question(choose(PHRASINGS, rng), answer, sentence, INSTRUCTION, place=(*moves, *turns))
