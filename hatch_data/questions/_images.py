"""Questions that are answered with one of the images: labels mean nothing, since views are shown in random order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Images among which is chosen, at most.
MOST_CANDIDATES = 4
INSTRUCTION = "Answer with the image, such as 'image 2'."


def label(view: int) -> str:
    """What a view is called: images are counted from 1."""
    return f"image {view + 1}"


def draw_candidates(views: Sequence[int], rng: np.random.Generator) -> list[int]:
    """Up to `MOST_CANDIDATES` of the views, in the order in which they are shown."""
    return sorted(rng.permutation(np.array(views, int))[:MOST_CANDIDATES].tolist())


def listed(views: Sequence[int]) -> str:
    """`image 2, image 3 and image 4`."""
    labels = [label(view) for view in views]
    return ", ".join(labels[:-1]) + f" and {labels[-1]}"


def options(views: Sequence[int]) -> tuple[str, ...]:
    """The labels of the views."""
    return tuple(label(view) for view in views)
