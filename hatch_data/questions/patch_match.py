"""Where does the patch marked in image 1 appear in image 2: four marked candidates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hatch_data.patches import Grid, PatchMap, Visibility
from hatch_data.questions import LETTERS, Marker, Question, Rejection, ViewPair, choice, choose
from hatch_data.tracks import patch_distance, strongest_target

LEAST_WEIGHT = 0.5
#: Candidates lie at least this many patches apart, so that only one of them can be right.
LEAST_DISTANCE_PATCHES = 3
CANDIDATES = 4
SOURCE_COLOR = "#e6194b"
CANDIDATE_COLORS = ("#f58231", "#3cb44b", "#4363d8", "#911eb4")
PHRASINGS = (
    "Image 1 has a place marked with a box. Which box in image 2 marks the same place?",
    "Which of the boxes in image 2 shows what the box in image 1 shows?",
    "Find the spot marked in image 1 again in image 2. Which box is it?",
)


def ask(views: ViewPair, rng: np.random.Generator) -> Question | Rejection:
    """Multiple choice among four boxes in image 2.

    Rejected: `no_clear_match` (no patch lands with half its area in one patch and returns from there),
    `no_room_for_candidates`.
    """
    there, back = views.first_to_second.map, views.second_to_first.map
    clear = _clear_matches(there, back)
    if len(clear) == 0:
        return Rejection("no_clear_match")
    source, truth = clear[int(rng.integers(len(clear)))]
    others = _distractors(int(truth), back, rng)
    if len(others) < CANDIDATES - 1:
        return Rejection("no_room_for_candidates")
    labels = [f"box {letter}" for letter in LETTERS[:CANDIDATES]]
    question = choice(choose(PHRASINGS, rng), str(truth), [str(other) for other in others], rng)
    boxes = [
        Marker(_box(int(patch), there.target_grid), LETTERS[k], CANDIDATE_COLORS[k])
        for k, patch in enumerate(question.options)
    ]
    text = question.text
    for letter, option, label in zip(LETTERS, question.options, labels, strict=False):
        text = text.replace(f"{letter}. {option}", f"{letter}. {label}")
    marker = Marker(_box(int(source), there.source_grid), "", SOURCE_COLOR)
    return replace(question, text=text, options=labels, markers={0: [marker], 1: boxes})


def _clear_matches(there: PatchMap, back: PatchMap) -> np.ndarray:
    """(n, 2) source and target patches that mostly land in each other."""
    strong = there.weight >= LEAST_WEIGHT
    strong &= there.valid[there.source_patch] >= LEAST_WEIGHT
    best_back = strongest_target(back)
    source, target = there.source_patch[strong], there.target_patch[strong]
    returns = patch_distance(best_back[target], source, there.source_grid) <= 1
    return np.stack([source, target], axis=-1)[returns & (best_back[target] >= 0)]


def _distractors(truth: int, back: PatchMap, rng: np.random.Generator) -> list[int]:
    """Patches of image 2 with surface in them, apart from the truth and from each other."""
    surface = np.flatnonzero((back.valid >= LEAST_WEIGHT) & (back.visibility != Visibility.NO_DEPTH))
    chosen = [truth]
    for patch in rng.permutation(surface):
        if all(patch_distance(patch, other, back.source_grid) >= LEAST_DISTANCE_PATCHES for other in chosen):
            chosen.append(int(patch))
            if len(chosen) == CANDIDATES:
                break
    return chosen[1:]


def _box(patch: int, grid: Grid) -> tuple[float, float, float, float]:
    row, column = divmod(patch, grid[1])
    return column / grid[1], row / grid[0], (column + 1) / grid[1], (row + 1) / grid[0]
