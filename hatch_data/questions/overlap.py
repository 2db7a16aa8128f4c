"""How much of what one view shows does another see."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.patches import UNDECIDED
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._points import two_views

VIEWS = (2, 4)
#: Shares that differ by this much, in percent, are different answers.
CLEAR_PERCENT = 12.0
#: Of the image, what has measured depth; of that, what the other view's depth leaves open.
LEAST_VALID, GREATEST_OPEN = 0.6, 0.1
PHRASINGS = (
    "What percentage of the surface that image {i} shows is also visible in image {j}?",
    "How much of what is seen in image {i}, in percent of its area, is seen in image {j} too?",
    "Estimate the overlap: what share of image {i}, in percent, shows surfaces that are visible in image {j} too?",
)
INSTRUCTION = "Answer in percent, such as '40 %'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """Percent of the area of the first image; what something hides in the second does not count.

    Rejected: `too_little_depth`.
    """
    i, j = two_views(group, rng)
    if not enough_depth(group, i, j):
        return Rejection("too_little_depth")
    percent = 100 * group.correspondence(i, j).map.overlap
    answer = f"{round(percent)} %"
    sentence = f"{answer} of what image {i + 1} shows is also visible in image {j + 1}."
    text = choose(PHRASINGS, rng).format(i=i + 1, j=j + 1)
    # The text tells how large the group is, and pairs of large groups overlap less.
    return Question(text, answer, sentence, INSTRUCTION, key=str(len(group)), place=(percent / CLEAR_PERCENT,))


def enough_depth(group: ViewGroup, i: int, j: int) -> bool:
    """Whether measured depth says what of view i is seen in view j."""
    there = group.correspondence(i, j)
    return there.map.valid.mean() >= LEAST_VALID and (there.flow.outcome == UNDECIDED).mean() <= GREATEST_OPEN
