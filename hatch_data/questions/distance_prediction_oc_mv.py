"""How far from the observer of image 1 is an object that is marked in another image (SPAR)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._objects import (
    BY_CENTERS,
    capital,
    marked,
    marks,
    metres,
    named,
    pick_elsewhere,
    place_of_length,
)

VIEWS = (2, 4)
LEAST_DISTANCE_M = 0.5
PHRASINGS = (
    "How many metres separate the observer of image 1 from the center of {red}?",
    "What is the straight-line distance in metres from the camera of image 1 to the center of {red}?",
    "You stand where image 1 was taken. How far away is {red}, in metres?",
    "Estimate the distance between {red} and whoever took image 1, in metres.",
)
INSTRUCTION = "Answer with the distance in metres, such as '2.4 m'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Euclidean distance from the camera of image 1 to the centre of the object, rather one that image 1 does not show.

    Rejected: `no_objects`, `too_few_clear_objects`, `too_near` (under 0.5 m).
    """
    if not group.instances:
        return Rejection("no_objects")
    red = pick_elsewhere(group, rng)
    if red is None:
        return Rejection("too_few_clear_objects")
    distance_m = float(np.linalg.norm(red.center - group.world_from_camera(0)[:3, 3]))
    if distance_m < LEAST_DISTANCE_M:
        return Rejection("too_near")
    answer = metres(distance_m)
    text = f"{choose(PHRASINGS, rng).format(red=marked(red, 'red'))} {BY_CENTERS}"
    sentence = f"{capital(named(red, 'red'))} is {answer} away from the observer of image 1."
    place = place_of_length(distance_m)
    return Question(text, answer, sentence, INSTRUCTION, place=place, markers=marks({"red": red}))
