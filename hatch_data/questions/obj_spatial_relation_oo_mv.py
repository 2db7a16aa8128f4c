"""Where does one object lie relative to another, for the observer of image 1; marked in different images (SPAR)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._objects import (
    BY_CENTERS,
    LEAVE_OUT,
    in_front,
    marks,
    offset,
    pointed,
    relation_between,
    subjects,
    told,
)

VIEWS = (2, 4)
PHRASINGS = (
    "Image 1 is the main viewpoint. What is the position of {red} relative to {blue}, according to its observer?",
    "For the observer of image 1, where is {red} relative to {blue}?",
    "You stand where image 1 was taken and look the same way. Where is {red}, compared to {blue}?",
    "Specify the position of {red} with respect to {blue} from the viewpoint of image 1.",
)
HINT = f"{BY_CENTERS} Use left or right, above or below, and closer or farther. {LEAVE_OUT}"
INSTRUCTION = "Answer such as 'left, above, closer' or 'right, farther'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Words for how the red object lies to the blue one in the gravity-levelled heading frame of view 1; closer and
    farther by distance from its camera.

    Rejected: `no_objects`, `too_few_clear_objects`, `behind_the_observer` (one of them), `on_a_border` (a word would be
    doubtful, or left and right in the plan and in the picture disagree).
    """
    objects = subjects(group, ("red", "blue"), rng)
    if isinstance(objects, Rejection):
        return objects
    of_red, of_blue = (offset(group, 0, one.center) for one in objects.values())
    if not in_front(of_red, of_blue):
        return Rejection("behind_the_observer")
    answer = relation_between(of_red, of_blue)
    if answer is None:
        return Rejection("on_a_border")
    text = f"{pointed(choose(PHRASINGS, rng), objects)} {HINT}"
    sentence = "For the observer of image 1, the position of {red} relative to {blue} is: {answer}."
    return Question(text, answer, told(sentence, objects, answer), INSTRUCTION, markers=marks(objects))
