"""Where is an object for an observer who moves to a second one and faces a third (SPAR)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._objects import (
    BY_CENTERS,
    LEAVE_OUT,
    horizontal_m,
    marks,
    offset_facing,
    pointed,
    relation,
    subjects,
    told,
)

VIEWS = (2, 4)
#: From one place to what is faced there must be this far in the plan.
LEAST_FACING_M = 0.5
PHRASINGS = (
    "The observer moves to the center of {green} and faces {blue}. Where is {red} then, from the observer's view?",
    "Imagine standing at the center of {green}, facing {blue}. How is {red} situated relative to you?",
    "Suppose you are at the position of {green} and look towards {blue}. Where do you find {red}?",
)
HINT = f"{BY_CENTERS} Use left or right, above or below as in the world, and front or behind. {LEAVE_OUT}"
INSTRUCTION = "Answer such as 'left, above, front' or 'right, behind'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Words for where the red object lies, from the centre of the green one, facing the blue one, upright.

    Rejected: `no_objects`, `too_few_clear_objects`, `nothing_to_face` (under 0.5 m to what is faced), `on_a_border` (a
    word would be doubtful).
    """
    objects = subjects(group, ("red", "green", "blue"), rng)
    if isinstance(objects, Rejection):
        return objects
    red, green, blue = (one.center for one in objects.values())
    if horizontal_m(green, blue, group.up) < LEAST_FACING_M:
        return Rejection("nothing_to_face")
    answer = relation(offset_facing(green, blue, group.up, red))
    if answer is None:
        return Rejection("on_a_border")
    text = f"{pointed(choose(PHRASINGS, rng), objects)} {HINT}"
    sentence = told("From {green}, facing {blue}, the position of {red} is: {answer}.", objects, answer)
    return Question(text, answer, sentence, INSTRUCTION, markers=marks(objects))
