"""How deep lies an object in one image, where the depth of another object in another image is given (SPAR)."""

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
LEAST_DEPTH_M = 0.5
PHRASINGS = (
    "The depth of {red} is written beside it. What is the depth of {blue}?",
    "Given the depth that is written beside {red}, determine the depth of {blue}.",
    "With the depth of {red} as it is written there, how deep does {blue} lie?",
    "Estimate the depth of {blue}; for comparison, the depth of {red} is noted at its box.",
)
HINT = f"{BY_CENTERS} The depth of each object is that in the image where it is marked. The unit is meter."
INSTRUCTION = "Answer with the depth in metres, such as '2.1 m'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Depth of the centre of the object in the blue box, along the axis of the camera, in metres. The depth that is
    given stands in the picture: scenes of one size have depths of one size, so that a number in the text would tell.

    Rejected: `no_objects`, `too_few_clear_objects`, `too_near` (depth under 0.5 m).
    """
    if not group.instances:
        return Rejection("no_objects")
    chosen = pick_spread(group, 2, rng)
    if chosen is None:
        return Rejection("too_few_clear_objects")
    red, blue = chosen
    given_m, depth_m = (group.place_of(one.view, one.center)[2] for one in chosen)
    if min(given_m, depth_m) < LEAST_DEPTH_M:
        return Rejection("too_near")
    text = choose(PHRASINGS, rng).format(red=marked(red, "red"), blue=marked(blue, "blue"))
    sentence = f"{capital(named(blue, 'blue'))} lies at a depth of {metres(depth_m)} in image {blue.view + 1}."
    markers = marks({"red": red, "blue": blue}, {"red": metres(given_m)})
    answer = metres(depth_m)
    return Question(f"{text} {HINT}", answer, sentence, INSTRUCTION, place=place_of_length(depth_m), markers=markers)
