"""At which point of image 1 the camera of view 2 would be seen."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._points import COORDINATES_EXPLAINED
from hatch_data.questions.camera_in_view import SEEN, whereabouts

VIEWS = (2, 2)
#: Points that lie this far apart, in shares of the image, are different answers.
CLEAR = 0.12
PHRASINGS = (
    "The place from which image 2 was taken lies within the field of view of image 1. At which point of image 1?",
    "A person took image 2. Where in image 1 would the lens of that camera be seen?",
    "Project the camera center of image 2 into image 1. At which point does it lie?",
)
INSTRUCTION = "Answer with (x, y), such as (250, 620)."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """A point of image 1, from 0 to 1000 each way.

    Rejected: `not_in_view`, and as `camera_in_view.whereabouts` says.
    """
    where = whereabouts(group, 0, 1)
    if isinstance(where, Rejection):
        return where
    if where != SEEN:
        return Rejection("not_in_view")
    x, y, _ = group.place_of(0, group.world_from_camera(1)[:3, 3])
    answer = f"({round(1000 * x)}, {round(1000 * y)})"
    sentence = f"The camera of image 2 would be seen at {answer} in image 1."
    text = f"{choose(PHRASINGS, rng)} {COORDINATES_EXPLAINED}"
    return Question(text, answer, sentence, INSTRUCTION, place=(x / CLEAR, y / CLEAR))
