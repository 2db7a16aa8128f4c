"""Does one view show a good part of what another shows, or next to nothing of it."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._points import two_views
from hatch_data.questions.overlap import enough_depth

VIEWS = (2, 4)
#: Shares of a view's area that another sees too: from the first on the answer is yes, up to the second it is no.
MUCH, NEXT_TO_NOTHING = 0.5, 0.1
PHRASINGS = (
    "Of the surface that image {i} shows, does image {j} show at least half?",
    "Is most of what image {i} shows seen in image {j} too?",
    "Can most of the surface that is visible in image {i} be seen in image {j}?",
)
INSTRUCTION = "Answer yes or no."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """yes or no; what something hides in the other view does not count as seen.

    Rejected: `too_little_depth`, `overlap_in_between` (more than 10 and less than 50 %).
    """
    i, j = two_views(group, rng)
    if not enough_depth(group, i, j):
        return Rejection("too_little_depth")
    share = group.correspondence(i, j).map.overlap
    if NEXT_TO_NOTHING < share < MUCH:
        return Rejection("overlap_in_between")
    answer, amount = ("yes", "most") if share >= MUCH else ("no", "next to nothing")
    sentence = f"{answer.capitalize()}, {amount} of what image {i + 1} shows is visible in image {j + 1}."
    text = choose(PHRASINGS, rng).format(i=i + 1, j=j + 1)
    # The text tells how large the group is, and views of large groups share less.
    return Question(text, answer, sentence, INSTRUCTION, choices=2, key=str(len(group)))
