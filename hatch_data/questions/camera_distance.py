"""How far apart the cameras of two views stood."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._images import label
from hatch_data.questions._points import length_place, two_views

VIEWS = (2, 4)
LEAST_DISTANCE_M = 0.3
#: Views that share less surface than this give no hold for a distance.
LEAST_OVERLAP = 0.1
PHRASINGS = (
    "How far apart were the cameras that took {a} and {b}?",
    "What is the distance in meters between the viewpoints of {a} and {b}?",
    "How many meters is it, in a straight line, from where {a} was taken to where {b} was taken?",
)
INSTRUCTION = "Answer in meters with one decimal, such as '1.2 m'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Metres between two of the views.

    Rejected: `too_near` (under 0.3 m), `overlap_too_small` (the two share less than a tenth of their surface).
    """
    i, j = two_views(group, rng)
    distance = float(np.linalg.norm(group.world_from_camera(i)[:3, 3] - group.world_from_camera(j)[:3, 3]))
    if distance < LEAST_DISTANCE_M:
        return Rejection("too_near")
    if group.overlap(i, j) < LEAST_OVERLAP:
        return Rejection("overlap_too_small")
    answer = f"{distance:.1f} m"
    text = choose(PHRASINGS, rng).format(a=label(i), b=label(j))
    sentence = f"The cameras of {label(i)} and {label(j)} were {answer} apart."
    # Larger groups reach further, and the text may tell how many views there are.
    return Question(text, answer, sentence, INSTRUCTION, key=str(len(group)), place=length_place(distance))
