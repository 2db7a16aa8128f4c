"""How far apart are two objects that are marked in different images (SPAR)."""

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
    pick_spread,
    place_of_length,
)

VIEWS = (2, 4)
LEAST_DISTANCE_M = 0.5
PHRASINGS = (
    "What is the Euclidean distance in metres between the centers of {red} and {blue}?",
    "How far apart are {red} and {blue}, in metres?",
    "Measure the straight-line distance from the center of {red} to the center of {blue}, in metres.",
    "How many metres lie between {red} and {blue}?",
)
INSTRUCTION = "Answer with the distance in metres, such as '1.2 m'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Euclidean distance of the centres of two objects.

    Rejected: `no_objects`, `too_few_clear_objects`, `too_near` (under 0.5 m).
    """
    if not group.instances:
        return Rejection("no_objects")
    chosen = pick_spread(group, 2, rng)
    if chosen is None:
        return Rejection("too_few_clear_objects")
    red, blue = chosen
    distance_m = float(np.linalg.norm(red.center - blue.center))
    if distance_m < LEAST_DISTANCE_M:
        return Rejection("too_near")
    answer = metres(distance_m)
    text = choose(PHRASINGS, rng).format(red=marked(red, "red"), blue=marked(blue, "blue"))
    sentence = f"{capital(named(red, 'red'))} and {named(blue, 'blue')} are {answer} apart."
    markers, place = marks({"red": red, "blue": blue}), place_of_length(distance_m)
    return Question(f"{text} {BY_CENTERS}", answer, sentence, INSTRUCTION, place=place, markers=markers)
