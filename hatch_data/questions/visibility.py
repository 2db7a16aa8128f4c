"""Is the point marked in image 1 visible in image 2, hidden there, or outside of it."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._points import Fate, with_fate

VIEWS = (2, 2)
FATES = (Fate.VISIBLE, Fate.HIDDEN, Fate.OUTSIDE)
MEANING = {
    Fate.VISIBLE: "is visible",
    Fate.HIDDEN: "is hidden by something in front of it",
    Fate.OUTSIDE: "lies outside of the image",
}
PHRASINGS = (
    "A red point is marked in image 1. In image 2, is this point visible, hidden by something in front of it, "
    "or outside of the image?",
    "Can the place marked red in image 1 be seen in image 2 (visible), does something block the view of it (hidden), "
    "or is it not within the frame (outside)?",
    "What becomes of the red point of image 1 in image 2: visible, hidden behind something, or outside of the frame?",
)
INSTRUCTION = "Answer with one of: visible, hidden, outside."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """visible, hidden or outside, one of them looked for at random.

    Rejected: `nothing_visible`, `nothing_hidden`, `nothing_outside` (no such point with trusted depth, clear of
    borders, depth edges and small differences in depth).
    """
    wanted = FATES[int(rng.integers(len(FATES)))]
    found = with_fate(group, 0, 1, wanted, rng)
    if not found:
        return Rejection(f"nothing_{wanted.value}")
    sentence = f"In image 2 the point marked in image 1 {MEANING[wanted]}."
    markers = {0: [found[0][0].marker()]}
    return Question(choose(PHRASINGS, rng), wanted.value, sentence, INSTRUCTION, choices=len(FATES), markers=markers)
