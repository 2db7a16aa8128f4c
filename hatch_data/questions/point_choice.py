"""Which of the points marked in image 2 is the point marked in image 1."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import LETTERS, Question, Rejection, choose
from hatch_data.questions._points import Fate, candidate_markers, spread_out, with_fate

VIEWS = (2, 2)
CANDIDATES = 4
#: Points among which four are looked for that keep apart.
AMONG = 24
PHRASINGS = (
    "A red point is marked in image 1. Which of the points A, B, C and D in image 2 is the same point?",
    "Which of the points A, B, C and D marked in image 2 corresponds to the red point in image 1?",
    "The red point in image 1 is seen again in image 2, where four points are marked: A, B, C and D. Which one is it?",
)
INSTRUCTION = "Answer with the point, such as 'point A'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of four points. All of them are seen in both images, and any might have been the one that is asked about.

    Rejected: `too_few_points_in_both` (fewer than four, apart from each other, with trusted depth and clearly visible).
    """
    both = with_fate(group, 0, 1, Fate.VISIBLE, rng, AMONG)
    chosen = [both[k] for k in spread_out([place for _, place in both], CANDIDATES)]
    if len(chosen) < CANDIDATES:
        return Rejection("too_few_points_in_both")
    chosen = [chosen[k] for k in rng.permutation(CANDIDATES)]
    truth = int(rng.integers(CANDIDATES))
    labels = tuple(f"point {letter}" for letter in LETTERS[:CANDIDATES])
    markers = {0: [chosen[truth][0].marker()], 1: candidate_markers([place for _, place in chosen])}
    sentence = f"The red point in image 1 is {labels[truth]} in image 2."
    return Question(choose(PHRASINGS, rng), labels[truth], sentence, INSTRUCTION, labels, markers=markers)
