"""Where is an object that is marked in another image, as the observer of image 1 faces (SPAR)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._objects import BY_CENTERS, capital, marked, marks, named, offset, pick_elsewhere, relation

VIEWS = (2, 4)
PHRASINGS = (
    "Image 1 is the main viewpoint. How is {red} situated with respect to its observer?",
    "Where is {red} relative to the observer of image 1?",
    "You stand where image 1 was taken and look the same way. Where is {red}?",
    "From the viewpoint of image 1, describe the position of {red}.",
)
HINT = (
    f"{BY_CENTERS} Use left or right, above or below the height of the camera, and front or behind; "
    "what is next to indistinguishable is left out."
)
INSTRUCTION = "Answer such as 'left, below, front' or 'right, behind'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Words for the offset in the gravity-levelled heading frame of view 1; rather of an object that image 1 does not
    show.

    Rejected: `no_objects`, `too_few_clear_objects`, `on_a_border` (a word would be doubtful).
    """
    if not group.instances:
        return Rejection("no_objects")
    red = pick_elsewhere(group, rng)
    if red is None:
        return Rejection("too_few_clear_objects")
    answer = relation(offset(group, 0, red.center))
    if answer is None:
        return Rejection("on_a_border")
    text = f"{choose(PHRASINGS, rng).format(red=marked(red, 'red'))} {HINT}"
    sentence = f"{capital(named(red, 'red'))} is, for the observer of image 1: {answer}."
    return Question(text, answer, sentence, INSTRUCTION, markers=marks({"red": red}))
