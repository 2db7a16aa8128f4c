"""In which order do marked objects come into view along the images."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._candidates import CANDIDATES, clear_in, evident, one_each
from hatch_data.questions._objects import Seen, capital, marks, named, unique

VIEWS = (3, 8)
#: In a view before it has come into view, an object has at most this share of the pixels.
UNSEEN_SHARE = 0.0001
MOST_OPTIONS = 4
PHRASINGS = (
    "Go through the images in the order in which they are given. In which order do the marked objects first come into "
    "view? Each is marked in one image only.",
    "You see the images one after the other. What is the order in which the marked objects appear for the first time, "
    "marked or not?",
    "Each marked object is shown by one or more of the images, but marked once. In which order do they first appear, "
    "from image 1 to the last?",
)


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """The colors of two or three objects, each marked in any view that shows it clearly, by the first view in which it
    appears; in that it is evident already, and before not at all. Nothing of the same name is to be seen.

    Rejected: `no_objects`, `too_few_appear` (no two objects come into view clearly and at different times),
    `marked_at_once` (every one is marked where it appears, so that the boxes alone tell).
    """
    if not group.instances:
        return Rejection("no_objects")
    first = first_views(group)
    objects = [one for one in clear_in(group, range(len(group)), rng) if one.index in first and unique(group, one)]
    found = list(one_each(objects, lambda one: str(first[one.index])).values())[: len(CANDIDATES)]
    if len(found) < 2:
        return Rejection("too_few_appear")
    if all(one.view == first[one.index] for one in found):
        return Rejection("marked_at_once")
    found.sort(key=lambda one: first[one.index])
    colors = [CANDIDATES[k] for k in rng.permutation(len(CANDIDATES))[: len(found)]]
    objects_by_color = dict(zip(colors, found, strict=True))
    return Question(
        choose(PHRASINGS, rng),
        ", ".join(colors),
        ordered(objects_by_color),
        "Answer with the colors of the boxes in order, such as 'green, blue'.",
        options(colors, rng),
        markers=marks(objects_by_color),
    )


def first_views(group: ViewGroup) -> dict[int, int]:
    """Object -> the first view that shows it, where it is evident at once."""
    first: dict[int, int] = {}
    for k in range(len(group)):
        for one in group.sightings(k):
            if one.share > UNSEEN_SHARE:
                first.setdefault(one.index, k)
    found = [evident(group, k) for k in range(len(group))]
    return {index: k for index, k in first.items() if index in found[k]}


def ordered(objects: dict[str, Seen]) -> str:
    """The sentence that lists the objects in order."""
    names = [named(one, color) for color, one in objects.items()]
    return f"{capital(', then '.join(names))}."


def options(colors: list[str], rng: np.random.Generator) -> tuple[str, ...]:
    """The order of the colors and up to three other orders, drawn alike."""
    others = [", ".join(order) for order in permutations(colors)][1:]
    drawn = [", ".join(colors), *(others[k] for k in rng.permutation(len(others))[: MOST_OPTIONS - 1])]
    return tuple(drawn[k] for k in rng.permutation(len(drawn)))
