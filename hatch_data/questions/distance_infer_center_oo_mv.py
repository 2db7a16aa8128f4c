"""Which of two objects is nearer to, or farther from, a third: all marked, in different images (SPAR)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._objects import BY_CENTERS, CLEAR_RATIO, WORD_M, capital, marks, subjects, told

VIEWS = (2, 4)
NEARER, FARTHER = ("closer to", "nearer to"), ("farther from", "more distant from")
PHRASINGS = (
    "Decide whether {green} or {blue} is {side} {red}.",
    "Which is {side} {red}: {green} or {blue}?",
    "Of {green} and {blue}, which one is {side} {red}?",
)
OPTIONS = ("green", "blue")
INSTRUCTION = "Answer with the color of the box: green or blue."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of two objects, by Euclidean distance of the centres; which of them is green is drawn. The text does not say
    which image a box is in: what shares an image is near.

    Rejected: `no_objects`, `too_few_clear_objects`, `alike` (the distances differ by less than 0.3 m or a quarter).
    """
    objects = subjects(group, ("red", *(OPTIONS[k] for k in rng.permutation(2))), rng)
    if isinstance(objects, Rejection):
        return objects
    distances = [float(np.linalg.norm(objects[color].center - objects["red"].center)) for color in OPTIONS]
    near_m, far_m = sorted(distances)
    if far_m < max(near_m + WORD_M, near_m * CLEAR_RATIO):
        return Rejection("alike")
    nearer = bool(rng.integers(2))
    answer = OPTIONS[distances.index(near_m if nearer else far_m)]
    side = choose(NEARER if nearer else FARTHER, rng)
    text = choose(PHRASINGS, rng).format(side=side, **{color: f"the object in the {color} box" for color in objects})
    sentence = told(f"{{{answer}}} is {side} {{red}}.", objects, answer)
    options = tuple(OPTIONS[k] for k in rng.permutation(2))
    return Question(capital(f"{text} {BY_CENTERS}"), answer, sentence, INSTRUCTION, options, markers=marks(objects))
