"""How many different objects of a kind do all images show together: none is counted twice."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._objects import LEAST_SHARE, is_object

VIEWS = (2, 8)
#: An object counts that some view shows in this share of its pixels; one that is seen less must be next to unseen.
COUNTED_SHARE = 0.003
PHRASINGS = (
    "How many different objects of the kind '{label}' do the images show, all together?",
    "Count the objects of the kind '{label}' over all images. One that several images show counts once.",
    "The images show parts of one place. How many objects of the kind '{label}' can be seen in them in total?",
)
INSTRUCTION = "Answer with a number."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """The number of objects with a label, of which more than one view shows some.

    Rejected: `no_objects`, `seen_once` (no label is seen in two views), `half_seen` (an object of the kind is neither
    clear in a view nor next to unseen in all), `like_another_label` ("chair" beside "office chair").
    """
    if not group.instances:
        return Rejection("no_objects")
    most: dict[int, float] = defaultdict(float)
    views: dict[str, set[int]] = defaultdict(set)
    for k in range(len(group)):
        for one in group.sightings(k):
            label = group.instances[one.index].label.strip()
            if is_object(label):
                most[one.index] = max(most[one.index], one.share)
                if one.share >= COUNTED_SHARE:
                    views[label].add(k)
    labels = sorted(label for label, where in views.items() if len(where) > 1)
    if not labels:
        return Rejection("seen_once")
    label = labels[int(rng.integers(len(labels)))]
    seen = {index: group.instances[index].label.strip() for index, share in most.items() if share >= LEAST_SHARE}
    if any(LEAST_SHARE <= share < COUNTED_SHARE and seen[i] == label for i, share in most.items()):
        return Rejection("half_seen")
    if any(other != label and other.split()[-1].lower() == label.split()[-1].lower() for other in seen.values()):
        return Rejection("like_another_label")
    count = sum(other == label for other in seen.values())
    text = choose(PHRASINGS, rng).format(label=label)
    noun = "object" if count == 1 else "objects"
    sentence = f"The images show {count} different {noun} of the kind '{label}'."
    return Question(text, str(count), sentence, INSTRUCTION, key=label)
