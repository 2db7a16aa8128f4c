"""Where does the patch marked in image 1 appear in image 2: four marked candidates."""

from __future__ import annotations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.patches import Grid, PatchMap, Visibility
from hatch_data.questions import LETTERS, Marker, Question, Rejection, choose
from hatch_data.tracks import patch_distance, strongest_target

VIEWS = (2, 2)
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
INSTRUCTION = "Answer with the box, such as 'box A'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of four boxes in image 2.

    Rejected: `no_clear_match` (no patch lands with half its area in one patch and returns from there),
    `no_room_for_candidates`.
    """
    there, back = group.correspondence(0, 1).map, group.correspondence(1, 0).map
    clear = _clear_matches(there, back)
    if len(clear) == 0:
        return Rejection("no_clear_match")
    source, truth = (int(patch) for patch in clear[int(rng.integers(len(clear)))])
    candidates = _candidates(truth, back, rng)
    if len(candidates) < CANDIDATES:
        return Rejection("no_room_for_candidates")
    candidates = [candidates[k] for k in rng.permutation(CANDIDATES)]
    labels = tuple(f"box {letter}" for letter in LETTERS[:CANDIDATES])
    answer = labels[candidates.index(truth)]
    boxes = [
        Marker(_box(patch, there.target_grid), LETTERS[k], CANDIDATE_COLORS[k]) for k, patch in enumerate(candidates)
    ]
    marker = Marker(_box(source, there.source_grid), "", SOURCE_COLOR)
    sentence = f"The place marked in image 1 is in {answer} of image 2."
    return Question(choose(PHRASINGS, rng), answer, sentence, INSTRUCTION, labels, markers={0: [marker], 1: boxes})


def _clear_matches(there: PatchMap, back: PatchMap) -> np.ndarray:
    """(n, 2) source and target patches that mostly land in each other."""
    strong = there.weight >= LEAST_WEIGHT
    strong &= there.valid[there.source_patch] >= LEAST_WEIGHT
    best_back = strongest_target(back)
    source, target = there.source_patch[strong], there.target_patch[strong]
    returns = patch_distance(best_back[target], source, there.source_grid) <= 1
    return np.stack([source, target], axis=-1)[returns & (best_back[target] >= 0)]


def _candidates(truth: int, back: PatchMap, rng: np.random.Generator) -> list[int]:
    """The truth and patches of image 2 with surface in them, apart from it and from each other."""
    surface = np.flatnonzero((back.valid >= LEAST_WEIGHT) & (back.visibility != Visibility.NO_DEPTH))
    chosen = [truth]
    for patch in rng.permutation(surface):
        if all(patch_distance(patch, other, back.source_grid) >= LEAST_DISTANCE_PATCHES for other in chosen):
            chosen.append(int(patch))
            if len(chosen) == CANDIDATES:
                break
    return chosen


def _box(patch: int, grid: Grid) -> tuple[float, float, float, float]:
    row, column = divmod(patch, grid[1])
    return column / grid[1], row / grid[0], (column + 1) / grid[1], (row + 1) / grid[0]
