"""How deep, along the optical axis, lies a marked point."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._points import draw_points, length_place

VIEWS = (2, 4)
PHRASINGS = (
    "What is the depth of the red point in image {k}, in meters?",
    "A red point is marked in image {k}. How far is it along the viewing direction of that camera, in meters?",
    "Estimate the depth, in meters along the optical axis, of the point marked red in image {k}.",
)
INSTRUCTION = "Answer in meters, such as '1.25 m'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Metres.

    Rejected: `no_trusted_depth` (no place off the border where depth is measured all around, on something flat that is
    not seen at a grazing angle).
    """
    k = int(rng.integers(len(group)))
    points = draw_points(group, k, rng)
    if not points:
        return Rejection("no_trusted_depth")
    point = points[0]
    answer = f"{point.depth_m:.2f} m"
    sentence = f"The depth of the red point in image {k + 1} is {answer}."
    text = choose(PHRASINGS, rng).format(k=k + 1)
    place = length_place(point.depth_m)
    return Question(text, answer, sentence, INSTRUCTION, place=place, markers={k: [point.marker()]})
