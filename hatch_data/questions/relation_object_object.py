"""In which direction does one object lie from another, by the heading of one of the images (MMSI-Bench, Obj-Obj)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.motion import Motion
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._candidates import boxed
from hatch_data.questions._directions import DIRECTIONS, direction, looks_steeply
from hatch_data.questions._objects import marks, subjects, told

VIEWS = (2, 4)
PHRASINGS = (
    "Take the direction in which image {k} was taken as the front. In which direction from {blue} does {red} lie?",
    "You stand at {blue} and face the way the camera of image {k} faces. Where is {red}?",
    "With front as the camera of image {k} looks, where is {red} relative to {blue}?",
)
INSTRUCTION = f"Answer with one of: {', '.join(DIRECTIONS)}."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of eight directions, between objects clear in two different views; the heading is that of any view.

    Rejected: `no_objects`, `too_few_clear_objects`, `looks_steeply`, `too_near`, `mostly_vertical`, `on_a_border`
    (`_directions.direction`).
    """
    objects = subjects(group, ("red", "blue"), rng)
    if isinstance(objects, Rejection):
        return objects
    k = int(rng.integers(len(group)))
    if looks_steeply(group, k):
        return Rejection("looks_steeply")
    way = group.from_view(k, objects["red"].center) - group.from_view(k, objects["blue"].center)
    answer = direction(Motion(*way.tolist()))
    if isinstance(answer, Rejection):
        return answer
    text = choose(PHRASINGS, rng).format(k=k + 1, red=boxed("red"), blue=boxed("blue"))
    sentence = f"With front as image {k + 1} looks, the position of {{red}} relative to {{blue}} is: {{answer}}."
    return Question(text, answer, told(sentence, objects, answer), INSTRUCTION, markers=marks(objects))
