"""Which of the other views sees most of what view 1 shows."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._images import INSTRUCTION, among, listed, options
from hatch_data.questions.overlap import enough_depth

VIEWS = (3, 8)
#: The answer sees at least this share, and more than any other by this much.
LEAST_OVERLAP, MARGIN = 0.15, 0.1
PHRASINGS = (
    "Which of {others} overlaps {most} with image 1, that is, shows the {largest} part of what image 1 shows?",
    "Of {others}, which one sees {the_most} of the surface that is visible in image 1?",
    "Which of {others} has {the_most} in common with image 1?",
)


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of the images but the first, by the share of image 1's area that is visible there.

    Rejected: `too_little_depth`, `overlap_too_small` (under 15 %), `overlaps_alike` (the best is not 10 % of the image
    ahead of the next).
    """
    others = range(1, len(group))
    if not all(enough_depth(group, 0, k) for k in others):
        return Rejection("too_little_depth")
    shares = np.array([group.correspondence(0, k).map.overlap for k in others])
    second, best = np.sort(shares)[-2:]
    if best < LEAST_OVERLAP:
        return Rejection("overlap_too_small")
    if best - second < MARGIN:
        return Rejection("overlaps_alike")
    labels = options(others)
    answer = labels[int(shares.argmax())]
    words = {word.replace(" ", "_"): among(len(others), word) for word in ("most", "the most", "largest")}
    sentence = f"{answer.capitalize()} overlaps {words['most']} with image 1."
    text = choose(PHRASINGS, rng).format(others=listed(others), **words)
    return Question(text, answer, sentence, INSTRUCTION, labels)
