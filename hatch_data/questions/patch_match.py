"""Where does the patch marked in image 1 appear in image 2: four marked candidates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from hatch_data.errors import FrameError
from hatch_data.group import ViewGroup
from hatch_data.patches import PatchMap, Visibility
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._patches import (
    BOX_LABELS,
    CANDIDATES,
    LEAST_DISTANCE_PATCHES,
    candidates,
    lettered,
    marked,
)
from hatch_data.tracks import hard_negatives, patch_distance, strongest_target

VIEWS = (2, 2)
LEAST_WEIGHT = 0.5
#: Share of the questions whose wrong candidates look like the right one: the colour of both images is decoded for it.
HARD_SHARE = 0.5
#: Look-alikes from which those are taken that are surface and lie apart.
LOOKALIKES = 32
PHRASINGS = (
    "Image 1 has a place marked with a red box. Which box in image 2 marks the same place?",
    "Which of the boxes A, B, C and D in image 2 shows the same place as the red box in image 1?",
    "Find the spot marked red in image 1 again in image 2. Which of the boxes A, B, C and D marks it?",
)
INSTRUCTION = "Answer with the box, such as 'box A'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of four boxes in image 2; in half of the questions the wrong ones look alike and are elsewhere.

    Rejected: `no_clear_match` (no patch lands with half its area in one patch and returns from there),
    `no_room_for_candidates`, `unreadable_color` and whatever else keeps a colour image from being read.
    """
    there, back = group.correspondence(0, 1).map, group.correspondence(1, 0).map
    clear = _clear_matches(there, back)
    if len(clear) == 0:
        return Rejection("no_clear_match")
    source, truth = (int(patch) for patch in clear[int(rng.integers(len(clear)))])
    others = _surface(back)[rng.permutation(len(_surface(back)))].tolist()
    if rng.random() < HARD_SHARE:
        try:
            others = [*_lookalikes(group, there, source, others), *others]
        except FrameError as error:
            return Rejection(error.reason)
    chosen = candidates(truth, others, there.target_grid)
    if len(chosen) < CANDIDATES:
        return Rejection("no_room_for_candidates")
    chosen = [chosen[k] for k in rng.permutation(CANDIDATES)]
    answer = BOX_LABELS[chosen.index(truth)]
    markers = {0: [marked(source, there.source_grid)], 1: lettered(chosen, there.target_grid)}
    sentence = f"The place marked in image 1 is in {answer} of image 2."
    return Question(choose(PHRASINGS, rng), answer, sentence, INSTRUCTION, BOX_LABELS, markers=markers)


def _clear_matches(there: PatchMap, back: PatchMap) -> np.ndarray:
    """(n, 2) source and target patches that mostly land in each other."""
    strong = there.weight >= LEAST_WEIGHT
    strong &= there.valid[there.source_patch] >= LEAST_WEIGHT
    best_back = strongest_target(back)
    source, target = there.source_patch[strong], there.target_patch[strong]
    returns = patch_distance(best_back[target], source, there.source_grid) <= 1
    return np.stack([source, target], axis=-1)[returns & (best_back[target] >= 0)]


def _surface(back: PatchMap) -> np.ndarray:
    """Patches of image 2 with surface in them."""
    return np.flatnonzero((back.valid >= LEAST_WEIGHT) & (back.visibility != Visibility.NO_DEPTH))


def _lookalikes(group: ViewGroup, there: PatchMap, source: int, among: Iterable[int]) -> list[int]:
    """Patches of image 2 that look most like a patch of image 1 and are elsewhere, the most alike first."""
    mine = there.source_patch == source
    alone = replace(
        there,
        source_grid=(1, 1),
        source_patch=np.zeros(np.count_nonzero(mine), np.int32),
        target_patch=there.target_patch[mine],
        weight=there.weight[mine],
        valid=there.valid[[source]],
        visibility=there.visibility[[source]],
    )
    looks = group.look(0)[[source]], group.look(1)
    found = hard_negatives(alone, *looks, LOOKALIKES, LEAST_DISTANCE_PATCHES)[0]
    return [patch for patch in found.tolist() if patch in set(among)]
