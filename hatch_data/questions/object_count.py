"""How many different objects of a kind do all images show together: none is counted twice."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._candidates import evident
from hatch_data.questions._objects import LEAST_SHARE, is_object

VIEWS = (2, 8)
#: Not counted: a row of them is one or many.
OPENINGS = ("window", "door", "curtain", "blind")
PHRASINGS = (
    "How many different objects of the kind '{label}' do the images show, all together?",
    "Count the objects of the kind '{label}' over all images. One that several images show counts once.",
    "The images show parts of one place. How many objects of the kind '{label}' can be seen in them in total?",
)
INSTRUCTION = "Answer with a number."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """The number of objects with a label, of which more than one view shows some; rather of a label with two or more.

    Rejected: `no_objects`, `seen_once` (no label of countable things is seen in two views), `half_seen` (an object of
    the kind is neither evident in a view nor next to unseen in all), `like_another_label` ("chair" beside "office
    chair").
    """
    if not group.instances:
        return Rejection("no_objects")
    seen, views = _seen(group)
    counted = seen & {index for k in range(len(group)) for index in evident(group, k)}
    count = Counter(group.instances[index].label.strip() for index in counted)
    labels = sorted(label for label in count if len(views[label]) > 1 and is_countable(label))
    labels = [label for label in labels if count[label] > 1] or labels
    if not labels:
        return Rejection("seen_once")
    label = labels[int(rng.integers(len(labels)))]
    if any(group.instances[index].label.strip() == label for index in seen - counted):
        return Rejection("half_seen")
    if any(other != label and _noun(other) == _noun(label) for other in views):
        return Rejection("like_another_label")
    text = choose(PHRASINGS, rng).format(label=label)
    noun = "object" if count[label] == 1 else "different objects"
    sentence = f"Together, the images show {count[label]} {noun} of the kind '{label}'."
    return Question(text, str(count[label]), sentence, INSTRUCTION, key=label)


def _seen(group: ViewGroup) -> tuple[set[int], dict[str, set[int]]]:
    """Objects that are not next to unseen, and for each label the views that show some of it."""
    seen: set[int] = set()
    views: dict[str, set[int]] = defaultdict(set)
    for k in range(len(group)):
        for one in group.sightings(k):
            label = group.instances[one.index].label.strip()
            if one.share >= LEAST_SHARE and is_object(label):
                seen.add(one.index)
                views[label].add(k)
    return seen, views


def _noun(label: str) -> str:
    return label.lower().split()[-1]


def is_countable(label: str) -> bool:
    """Whether what is one of its kind is clear: not so of "books", nor of windows and doors, which run into rows."""
    noun = _noun(label)
    return noun not in OPENINGS and (not noun.endswith("s") or noun.endswith("ss"))
