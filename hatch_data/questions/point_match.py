"""Where in image 2, in coordinates, is the point marked in image 1."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._points import COORDINATES_EXPLAINED, Fate, with_fate

VIEWS = (2, 2)
#: Coordinates run from 0 to this, as in SPAR.
SCALE = 1000
#: Places that are further apart than this are different answers.
CLEAR = 120
PHRASINGS = (
    "A red point is marked in image 1. What are the coordinates of the same point in image 2?",
    "Where in image 2 is the place that the red point marks in image 1? Give its coordinates.",
    "Find the red point of image 1 again in image 2: at which coordinates is it?",
)
INSTRUCTION = "Answer with (x, y), such as (412, 633)."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Coordinates from 0 to 1000.

    Rejected: `no_point_in_both` (no point with trusted depth is clearly visible in both images).
    """
    both = with_fate(group, 0, 1, Fate.VISIBLE, rng)
    if not both:
        return Rejection("no_point_in_both")
    point, (x, y) = both[0]
    answer = f"({round(SCALE * x)}, {round(SCALE * y)})"
    sentence = f"In image 2 the point marked in image 1 is at {answer}."
    text = f"{choose(PHRASINGS, rng)} {COORDINATES_EXPLAINED}"
    place = (x * SCALE / CLEAR, y * SCALE / CLEAR)
    return Question(text, answer, sentence, INSTRUCTION, place=place, markers={0: [point.marker()]})
