"""Where does one object lie relative to another for an observer who moves to a third and faces a fourth (SPAR)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._objects import (
    BY_CENTERS,
    capital,
    horizontal_m,
    in_front,
    marked,
    marks,
    named,
    offset_facing,
    pick_spread,
    relation_between,
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
HINT = (
    f"{BY_CENTERS} Use left or right, above or below, and closer or farther, with up and down as in the world; "
    "what is next to indistinguishable is left out."
)
INSTRUCTION = "Answer such as 'left, above, closer' or 'right, farther'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Words for how the red object lies to the yellow one, from the centre of the green one, facing the blue one.

    Rejected: `no_objects`, `too_few_clear_objects`, `nothing_to_face` (under 0.5 m to what is faced),
    `behind_the_observer` (one of the two), `on_a_border` (a word would be doubtful, or left and right in the plan and
    as they are seen disagree).
    """
    if not group.instances:
        return Rejection("no_objects")
    chosen = pick_spread(group, 4, rng)
    if chosen is None:
        return Rejection("too_few_clear_objects")
    red, yellow, green, blue = chosen
    if horizontal_m(green.center, blue.center, group.up) < LEAST_FACING_M:
        return Rejection("nothing_to_face")
    of_red, of_yellow = (offset_facing(green.center, blue.center, group.up, one.center) for one in (red, yellow))
    if not in_front(of_red, of_yellow):
        return Rejection("behind_the_observer")
    answer = relation_between(of_red, of_yellow)
    if answer is None:
        return Rejection("on_a_border")
    objects = {"red": red, "yellow": yellow, "green": green, "blue": blue}
    text = choose(PHRASINGS, rng).format(**{color: marked(one, color) for color, one in objects.items()})
    sentence = (
        f"From {named(green, 'green')}, facing {named(blue, 'blue')}, "
        f"{named(red, 'red')} is, relative to {named(yellow, 'yellow')}: {answer}."
    )
    return Question(f"{text} {HINT}", answer, capital(sentence), INSTRUCTION, markers=marks(objects))
