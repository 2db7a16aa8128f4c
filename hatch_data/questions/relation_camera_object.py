"""In which direction does an object lie from a camera whose image does not show it (MMSI-Bench, Cam-Obj)."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.motion import Motion
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._candidates import REFERENCE, boxed, clear_in
from hatch_data.questions._directions import DIRECTIONS, direction, looks_steeply
from hatch_data.questions._objects import capital, marks, told

VIEWS = (2, 4)
PHRASINGS = (
    "When you took image {k}, where was {red} relative to you?",
    "You are the camera of image {k}. In which direction does {red} lie?",
    "Image {k} does not show {red}. In which direction would you have to look for it from there?",
)
INSTRUCTION = f"Answer with one of: {', '.join(DIRECTIONS)}."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of eight directions in the gravity-levelled heading frame of the view.

    Rejected: `no_objects`, `looks_steeply`, `seen_by_all` (every object clear in a view is seen by the one asked
    about), `too_near`, `mostly_vertical`, `on_a_border` (`_directions.direction`).
    """
    if not group.instances:
        return Rejection("no_objects")
    k = int(rng.integers(len(group)))
    if looks_steeply(group, k):
        return Rejection("looks_steeply")
    shown = {one.index for one in group.sightings(k)}
    unseen = [one for one in clear_in(group, (i for i in range(len(group)) if i != k), rng) if one.index not in shown]
    if not unseen:
        return Rejection("seen_by_all")
    red = unseen[0]
    answer = direction(Motion(*group.from_view(k, red.center).tolist()))
    if isinstance(answer, Rejection):
        return answer
    text = capital(choose(PHRASINGS, rng).format(k=k + 1, red=boxed(REFERENCE)))
    objects = {REFERENCE: red}
    sentence = told(f"From the camera of image {k + 1}, the position of {{red}} is: {{answer}}.", objects, answer)
    return Question(text, answer, sentence, INSTRUCTION, markers=marks(objects))
