"""By how much do the depths of two objects differ, where the depth of a third is given (SPAR)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._objects import BY_DEPTH, WORD_M, marks, metres, pointed, subjects, told
from hatch_data.questions._points import length_place

VIEWS = (2, 4)
PHRASINGS = (
    "The depth of {red} is written beside it. How much deeper or shallower is {green} than {blue}, measured in meters?",
    "Given the depth written beside {red}, by how many meters do the depths of {green} and {blue} differ?",
    "The depth of {red} is noted at its box. What is the difference in depth between {green} and {blue}, in meters?",
)
INSTRUCTION = "Answer with the difference in meters, such as '1.5 m'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Difference of two depths in metres; the depth that is given stands in the picture (`depth_prediction_oc_mv`).

    Rejected: `no_objects`, `too_few_clear_objects`, `behind_the_camera`, `alike` (under 0.3 m).
    """
    objects = subjects(group, ("red", "green", "blue"), rng)
    if isinstance(objects, Rejection):
        return objects
    depths_m = [group.place_of(one.view, one.center)[2] for one in objects.values()]
    if min(depths_m) <= 0:
        return Rejection("behind_the_camera")
    difference_m = depths_m[1] - depths_m[2]
    if abs(difference_m) < WORD_M:
        return Rejection("alike")
    answer = metres(abs(difference_m))
    text = f"{pointed(choose(PHRASINGS, rng), objects)} {BY_DEPTH}"
    side = "deeper" if difference_m > 0 else "shallower"
    sentence = told(f"{{green}} lies {{answer}} {side} than {{blue}}.", objects, answer)
    markers, place = marks(objects, {"red": metres(depths_m[0])}), length_place(abs(difference_m))
    return Question(text, answer, sentence, INSTRUCTION, place=place, markers=markers)
