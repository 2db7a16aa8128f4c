"""How deep lies an object in one image, where the depth of another object in another image is given (SPAR)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._objects import BY_DEPTH, marks, metres, pointed, subjects, told
from hatch_data.questions._points import length_place

VIEWS = (2, 4)
LEAST_DEPTH_M = 0.5
PHRASINGS = (
    "The depth of {red} is written beside it. What is the depth of {blue}?",
    "Given the depth that is written beside {red}, determine the depth of {blue}.",
    "The depth of {red} is noted at its box. At what depth does {blue} lie?",
    "Estimate the depth of {blue}; for comparison, the depth of {red} is noted at its box.",
)
INSTRUCTION = "Answer with the depth in meters, such as '2.1 m'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Depth of the centre of the object in the blue box, along the axis of the camera, in metres. The depth that is
    given stands in the picture: scenes of one size have depths of one size, so that a number in the text would tell.

    Rejected: `no_objects`, `too_few_clear_objects`, `too_near` (depth under 0.5 m).
    """
    objects = subjects(group, ("red", "blue"), rng)
    if isinstance(objects, Rejection):
        return objects
    given_m, depth_m = (group.place_of(one.view, one.center)[2] for one in objects.values())
    if min(given_m, depth_m) < LEAST_DEPTH_M:
        return Rejection("too_near")
    answer = metres(depth_m)
    text = f"{pointed(choose(PHRASINGS, rng), objects)} {BY_DEPTH} The unit is meter."
    sentence = told(f"{{blue}} lies at a depth of {{answer}} in image {objects['blue'].view + 1}.", objects, answer)
    markers = marks(objects, {"red": metres(given_m)})
    return Question(text, answer, sentence, INSTRUCTION, place=length_place(depth_m), markers=markers)
