"""Which of the other images was taken nearest to, or farthest from, a point marked in one of them."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._images import INSTRUCTION, among, draw_candidates, label, listed, options
from hatch_data.questions._points import CLEAR_RATIO, Fate, draw_points, fate

VIEWS = (3, 8)
#: The nearest is nearer than the next by `CLEAR_RATIO`, and by this much.
CLEAR_M = 0.3
#: Points of the image looked at.
TRIES = 12
PHRASINGS = (
    "The point marked red in {source} is also seen in {images}. Which of these was taken {most} it?",
    "Find the red point of {source} again. Of {images}, whose camera stood {most} that point?",
    "Which of {images} has its viewpoint {most} the place that is marked red in {source}?",
)


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of the images, of up to four, that show the point; the marked image is not among them.

    Rejected: `no_shared_point` (no point of the image is clearly visible in two others), `distances_alike`.
    """
    source = int(rng.integers(len(group)))
    others = [k for k in range(len(group)) if k != source]
    nearest = bool(rng.random() < 0.5)
    reason = "no_shared_point"
    for point in draw_points(group, source, rng, TRIES):
        candidates = draw_candidates([k for k in others if fate(group, point, k)[0] is Fate.VISIBLE], rng)
        if len(candidates) < 2:
            continue
        reason = "distances_alike"
        distances = np.array([point.distance_m(group.world_from_camera(k)[:3, 3]) for k in candidates])
        order = np.argsort(distances if nearest else -distances)
        less, more = sorted(distances[order[:2]].tolist())
        if more < max(CLEAR_RATIO * less, less + CLEAR_M):
            continue
        word, preposition = ("nearest", "to") if nearest else ("farthest", "from")
        truth, most = label(candidates[int(order[0])]), f"{among(len(candidates), word)} {preposition}"
        text = choose(PHRASINGS, rng).format(source=label(source), images=listed(candidates), most=most)
        sentence = f"{truth.capitalize()} was taken {most} the marked point."
        marked = {source: [point.marker()]}
        return Question(text, truth, sentence, INSTRUCTION, options(candidates), markers=marked)
    return Rejection(reason)
