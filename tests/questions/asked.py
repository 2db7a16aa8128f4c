"""Questions of a family about synthetic scenes, with the exact scene beside them: what independent checkers need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from hatch_data.group import SceneViews, ViewGroup
from hatch_data.questions import Question, Rejection, family
from hatch_data.recipe import DataRecipe
from hatch_data.scans import synthetic
from hatch_data.scans.synthetic import SyntheticScene
from hatch_data.views import ViewStore, prepare

WANTED = 200
SCENES, FRAMES, WIDTH, HEIGHT = 6, 30, 224, 168


@dataclass(frozen=True)
class Asked:
    """A question about a group of views of a synthetic scene; `indices` are the scene's frames in the order shown."""

    scene: SyntheticScene
    group: ViewGroup
    question: Question

    @property
    def indices(self) -> tuple[int, ...]:
        return self.group.indices

    def pose(self, k: int) -> np.ndarray:
        """(4, 4) exact world-from-camera of view k."""
        return self.scene.world_from_camera[self.indices[k]]


@cache
def scenes() -> list[tuple[SyntheticScene, SceneViews]]:
    """Small synthetic scenes, every frame usable."""
    found = []
    for index in range(SCENES):
        exact = synthetic.make(index, frames=FRAMES, width=WIDTH, height=HEIGHT)
        scene = exact.scene()
        views = ViewStore()
        for frame in scene.frames:
            views.append(prepare(frame))
        found.append((exact, SceneViews(scene, scene.frames, views, DataRecipe())))
    return found


def groups(least: int, most: int, seed: int) -> Iterator[tuple[SyntheticScene, ViewGroup]]:
    """Groups of `least` to `most` frames that were taken near each other, in random order, of all scenes in turn."""
    rng = np.random.default_rng(seed)
    while True:
        for exact, views in scenes():
            size = int(rng.integers(least, most + 1))
            reach = size + 3
            start = int(rng.integers(FRAMES - reach))
            yield exact, views.group(tuple((start + rng.permutation(reach)[:size]).tolist()))


@cache
def asked(name: str, wanted: int = WANTED, most_groups: int = 6000) -> tuple[list[Asked], Counter[str]]:
    """`wanted` questions of a family and what it declined, by reason."""
    questions: list[Asked] = []
    declined: Counter[str] = Counter()
    for number, (exact, group) in enumerate(groups(*family(name).VIEWS, seed=0)):
        answer = family(name).ask(group, np.random.default_rng(number))
        if isinstance(answer, Rejection):
            declined[answer.reason] += 1
        else:
            questions.append(Asked(exact, group, answer))
        if len(questions) == wanted:
            return questions, declined
        if number == most_groups:
            break
    raise AssertionError(f"only {len(questions)} questions of {name}, declined {declined}")


class FakeGroup:
    """A group of which only what a test sets is known: FakeGroup(motion=lambda i, j: ...)."""

    def __init__(self, **parts: object):
        self.__dict__.update(parts)
