"""How far from the observer of image 1 is an object that is marked in another image (SPAR)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._objects import BY_CENTERS, marks, metres, pointed, subject_elsewhere, told
from hatch_data.questions._points import length_place

VIEWS = (2, 4)
LEAST_DISTANCE_M = 0.5
PHRASINGS = (
    "How many meters separate the observer of image 1 from the center of {red}?",
    "What is the straight-line distance in meters from the camera of image 1 to the center of {red}?",
    "You stand where image 1 was taken. How far away is {red}, in meters?",
    "Estimate the distance between {red} and whoever took image 1, in meters.",
)
INSTRUCTION = "Answer with the distance in meters, such as '2.4 m'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Euclidean distance from the camera of image 1 to the centre of the object, rather one that image 1 does not show.

    Rejected: `no_objects`, `too_few_clear_objects`, `too_near` (under 0.5 m).
    """
    objects = subject_elsewhere(group, rng)
    if isinstance(objects, Rejection):
        return objects
    distance_m = float(np.linalg.norm(objects["red"].center - group.world_from_camera(0)[:3, 3]))
    if distance_m < LEAST_DISTANCE_M:
        return Rejection("too_near")
    answer, place = metres(distance_m), length_place(distance_m)
    text = f"{pointed(choose(PHRASINGS, rng), objects)} {BY_CENTERS}"
    sentence = told("{red} is {answer} away from the observer of image 1.", objects, answer)
    return Question(text, answer, sentence, INSTRUCTION, place=place, markers=marks(objects))
