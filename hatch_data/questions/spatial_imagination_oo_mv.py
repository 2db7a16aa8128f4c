"""Where does one object lie relative to another for an observer who moves to a third and faces a fourth (SPAR)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._objects import (
    BY_CENTERS,
    LEAVE_OUT,
    horizontal_m,
    in_front,
    marks,
    offset_facing,
    pointed,
    relation_between,
    subjects,
    told,
)

VIEWS = (2, 4)
#: From one place to what is faced there must be this far in the plan.
LEAST_FACING_M = 0.5
PHRASINGS = (
    "The observer moves to the center of {green} and faces {blue}. What is then the position of {red} relative to "
    "{yellow}, from the observer's view?",
    "Imagine standing at the center of {green}, facing {blue}. Where is {red} relative to {yellow}, as you see them?",
    "Suppose you are at the position of {green} and look towards {blue}. Where is {red}, compared to {yellow}?",
)
HINT = f"{BY_CENTERS} Use left or right, above or below as in the world, and closer or farther. {LEAVE_OUT}"
INSTRUCTION = "Answer such as 'left, above, closer' or 'right, farther'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Words for how the red object lies to the yellow one, from the centre of the green one, facing the blue one.

    Rejected: `no_objects`, `too_few_clear_objects`, `nothing_to_face` (under 0.5 m to what is faced),
    `behind_the_observer` (one of the two), `on_a_border` (a word would be doubtful, or left and right in the plan and
    as they are seen disagree).
    """
    objects = subjects(group, ("red", "yellow", "green", "blue"), rng)
    if isinstance(objects, Rejection):
        return objects
    red, yellow, green, blue = (one.center for one in objects.values())
    if horizontal_m(green, blue, group.up) < LEAST_FACING_M:
        return Rejection("nothing_to_face")
    of_red, of_yellow = (offset_facing(green, blue, group.up, center) for center in (red, yellow))
    if not in_front(of_red, of_yellow):
        return Rejection("behind_the_observer")
    answer = relation_between(of_red, of_yellow)
    if answer is None:
        return Rejection("on_a_border")
    text = f"{pointed(choose(PHRASINGS, rng), objects)} {HINT}"
    sentence = "From {green}, facing {blue}, the position of {red} relative to {yellow} is: {answer}."
    return Question(text, answer, told(sentence, objects, answer), INSTRUCTION, markers=marks(objects))
