"""Where is an object that is marked in another image, as the observer of image 1 faces (SPAR)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._objects import (
    BY_CENTERS,
    LEAVE_OUT,
    marks,
    offset,
    pointed,
    relation,
    subject_elsewhere,
    told,
)

VIEWS = (2, 4)
PHRASINGS = (
    "Image 1 is the main viewpoint. How is {red} situated with respect to its observer?",
    "Where is {red} relative to the observer of image 1?",
    "You stand where image 1 was taken and look the same way. Where is {red}?",
    "From the viewpoint of image 1, describe the position of {red}.",
)
HINT = f"{BY_CENTERS} Use left or right, above or below the height of the camera, and front or behind. {LEAVE_OUT}"
INSTRUCTION = "Answer such as 'left, below, front' or 'right, behind'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Words for the offset in the gravity-levelled heading frame of view 1; rather of an object that image 1 does not
    show.

    Rejected: `no_objects`, `too_few_clear_objects`, `on_a_border` (a word would be doubtful).
    """
    objects = subject_elsewhere(group, rng)
    if isinstance(objects, Rejection):
        return objects
    answer = relation(offset(group, 0, objects["red"].center))
    if answer is None:
        return Rejection("on_a_border")
    text = f"{pointed(choose(PHRASINGS, rng), objects)} {HINT}"
    sentence = told("For the observer of image 1, the position of {red} is: {answer}.", objects, answer)
    return Question(text, answer, sentence, INSTRUCTION, markers=marks(objects))
