"""By how much do the depths of two objects differ, where the depth of a third is given (SPAR)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._objects import (
    BY_CENTERS,
    WORD_M,
    capital,
    marked,
    marks,
    metres,
    named,
    pick_spread,
    place_of_length,
)

VIEWS = (2, 4)
PHRASINGS = (
    "The depth of {red} is written beside it. How much deeper or shallower is {green} than {blue}, in metres?",
    "Given the depth written beside {red}, by how many metres do the depths of {green} and {blue} differ?",
    "With the depth of {red} as it is noted at its box, what is the difference in depth of {green} and {blue}?",
)
HINT = f"{BY_CENTERS} The depth of each object is that in the image where it is marked."
INSTRUCTION = "Answer with the difference in metres, such as '1.5 m'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Difference of two depths in metres; the depth that is given stands in the picture (`depth_prediction_oc_mv`).

    Rejected: `no_objects`, `too_few_clear_objects`, `behind_the_camera`, `alike` (under 0.3 m).
    """
    if not group.instances:
        return Rejection("no_objects")
    chosen = pick_spread(group, 3, rng)
    if chosen is None:
        return Rejection("too_few_clear_objects")
    depths_m = [group.place_of(one.view, one.center)[2] for one in chosen]
    if min(depths_m) <= 0:
        return Rejection("behind_the_camera")
    difference_m = depths_m[1] - depths_m[2]
    if abs(difference_m) < WORD_M:
        return Rejection("alike")
    red, green, blue = chosen
    answer = metres(abs(difference_m))
    text = choose(PHRASINGS, rng).format(
        red=marked(red, "red"), green=marked(green, "green"), blue=marked(blue, "blue")
    )
    side = "deeper" if difference_m > 0 else "shallower"
    sentence = f"{capital(named(green, 'green'))} lies {answer} {side} than {named(blue, 'blue')}."
    markers = marks({"red": red, "green": green, "blue": blue}, {"red": metres(depths_m[0])})
    place = place_of_length(abs(difference_m))
    return Question(f"{text} {HINT}", answer, sentence, INSTRUCTION, place=place, markers=markers)
