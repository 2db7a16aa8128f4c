"""Questions that are answered with one of the images: labels mean nothing, since views are shown in random order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Images among which is chosen, at most.
MOST_CANDIDATES = 4
INSTRUCTION = "Answer with the image, such as 'image 2'."
#: Superlatives, and what takes their place between two.
_COMPARATIVES = {
    "farthest": "farther",
    "furthest": "further",
    "highest": "higher",
    "largest": "larger",
    "lowest": "lower",
    "most": "more",
    "nearest": "nearer",
    "the most": "more",
}


def label(view: int) -> str:
    """What a view is called: images are counted from 1."""
    return f"image {view + 1}"


def draw_candidates(views: Sequence[int], rng: np.random.Generator) -> list[int]:
    """Up to `MOST_CANDIDATES` of the views, in the order in which they are shown."""
    return sorted(rng.permutation(np.array(views, int))[:MOST_CANDIDATES].tolist())


def listed(views: Sequence[int]) -> str:
    """`images 2, 3 and 4`."""
    numbers = [str(view + 1) for view in views]
    return f"images {', '.join(numbers[:-1])} and {numbers[-1]}"


def among(count: int, superlative: str) -> str:
    """The superlative, or the comparative where only two are compared."""
    return superlative if count > 2 else _COMPARATIVES[superlative]


def options(views: Sequence[int]) -> tuple[str, ...]:
    """The labels of the views."""
    return tuple(label(view) for view in views)
