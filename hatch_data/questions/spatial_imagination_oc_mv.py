"""Where is an object for an observer who moves to a second one and faces a third (SPAR)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._objects import (
    BY_CENTERS,
    capital,
    horizontal_m,
    marked,
    marks,
    named,
    offset_facing,
    pick_spread,
    relation,
)

VIEWS = (2, 4)
#: From one place to what is faced there must be this far in the plan.
LEAST_FACING_M = 0.5
PHRASINGS = (
    "The observer moves to the center of {green} and faces {blue}. Where is {red} then, from the observer's view?",
    "Imagine standing at the center of {green}, facing {blue}. How is {red} situated relative to you?",
    "Suppose you are at the position of {green} and look towards {blue}. Where do you find {red}?",
)
HINT = (
    f"{BY_CENTERS} Use left or right, above or below, and front or behind, with up and down as in the world; "
    "what is next to indistinguishable is left out."
)
INSTRUCTION = "Answer such as 'left, above, front' or 'right, behind'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Words for where the red object lies, from the centre of the green one, facing the blue one, upright.

    Rejected: `no_objects`, `too_few_clear_objects`, `nothing_to_face` (under 0.5 m to what is faced), `on_a_border` (a
    word would be doubtful).
    """
    if not group.instances:
        return Rejection("no_objects")
    chosen = pick_spread(group, 3, rng)
    if chosen is None:
        return Rejection("too_few_clear_objects")
    red, green, blue = chosen
    if horizontal_m(green.center, blue.center, group.up) < LEAST_FACING_M:
        return Rejection("nothing_to_face")
    answer = relation(offset_facing(green.center, blue.center, group.up, red.center))
    if answer is None:
        return Rejection("on_a_border")
    text = choose(PHRASINGS, rng).format(
        red=marked(red, "red"), green=marked(green, "green"), blue=marked(blue, "blue")
    )
    sentence = f"From {named(green, 'green')}, facing {named(blue, 'blue')}, {named(red, 'red')} is: {answer}."
    markers = marks({"red": red, "green": green, "blue": blue})
    return Question(f"{text} {HINT}", answer, capital(sentence), INSTRUCTION, markers=markers)
