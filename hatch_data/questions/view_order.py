"""In which order the camera came past the views, from a given one on."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._images import label

VIEWS = (3, 5)
CHOICES = 4
#: Each view is farther from those before it than the view between, by this much.
CLEAR_M = 0.25
PHRASINGS = (
    "These images were taken along one path through the place, which began at {start}. In which order were they taken?",
    "The camera started at {start} and moved on, farther and farther away. Put the images in the order of its path.",
    "Beginning with {start}, sort the images by when the camera passed their viewpoints.",
)
INSTRUCTION = "List all images in order, beginning with the first, such as 'image 2, image 1, image 3'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of up to four orders that begin with the same image. Views are shown in random order, so that every order is
    as often right as any other.

    Rejected: `winding_path` (the path does not lead on: a later view is not farther away by 0.25 m).
    """
    order = np.argsort(group.capture_order).tolist()
    places = np.stack([group.world_from_camera(k)[:3, 3] for k in order])
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    if not leads_on(apart):
        return Rejection("winding_path")
    answer = _said(order)
    others = [_said([order[0], *rest]) for rest in permutations(order[1:]) if [*rest] != order[1:]]
    wrong = [others[k] for k in rng.permutation(len(others))[: CHOICES - 1]]
    listed = [answer, *wrong]
    options = tuple(listed[k] for k in rng.permutation(len(listed)))
    text = choose(PHRASINGS, rng).format(start=label(order[0]))
    return Question(text, answer, f"The order is {answer}.", INSTRUCTION, options)


def leads_on(apart: np.ndarray) -> bool:
    """Whether views with these distances (views, views) lie along a path that never comes back: of any three, both
    neighbours are nearer to each other than the ends are, by `CLEAR_M`."""
    views = range(len(apart))
    return all(
        apart[a, c] >= max(apart[a, b], apart[b, c]) + CLEAR_M for a in views for b in views for c in views if a < b < c
    )


def _said(order: list[int]) -> str:
    return ", ".join(label(k) for k in order)
