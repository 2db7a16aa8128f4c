"""How far apart are two objects that are marked in different images (SPAR)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._objects import BY_CENTERS, marks, metres, pointed, subjects, told
from hatch_data.questions._points import length_place

VIEWS = (2, 4)
LEAST_DISTANCE_M = 0.5
PHRASINGS = (
    "What is the Euclidean distance in meters between the centers of {red} and {blue}?",
    "How far apart are {red} and {blue}, in meters?",
    "Measure the straight-line distance from the center of {red} to the center of {blue}, in meters.",
    "How many meters lie between {red} and {blue}?",
)
INSTRUCTION = "Answer with the distance in meters, such as '1.2 m'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Euclidean distance of the centres of two objects.

    Rejected: `no_objects`, `too_few_clear_objects`, `too_near` (under 0.5 m).
    """
    objects = subjects(group, ("red", "blue"), rng)
    if isinstance(objects, Rejection):
        return objects
    distance_m = float(np.linalg.norm(objects["red"].center - objects["blue"].center))
    if distance_m < LEAST_DISTANCE_M:
        return Rejection("too_near")
    answer, place = metres(distance_m), length_place(distance_m)
    text = f"{pointed(choose(PHRASINGS, rng), objects)} {BY_CENTERS}"
    sentence = told("{red} and {blue} are {answer} apart.", objects, answer)
    return Question(text, answer, sentence, INSTRUCTION, place=place, markers=marks(objects))
