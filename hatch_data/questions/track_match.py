"""A patch followed through several views: which box marks it in the view where it is not marked yet."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from hatch_data.group import ViewGroup
from hatch_data.patches import Visibility
from hatch_data.questions import Question, Rejection, choose
from hatch_data.questions._patches import BOX_LABELS, CANDIDATES, candidates, lettered, marked
from hatch_data.tracks import strongest_target

VIEWS = (3, 8)
#: Every marked patch lands with this much of its area in the right box.
LEAST_WEIGHT = 0.4
#: The place is marked in at least this many views beside the one that is asked about.
LEAST_MARKED = 2
PHRASINGS = (
    "The same place is marked with a red box in images {marked}. Which of the boxes A, B, C and D in image {k} marks "
    "it too?",
    "Red boxes in images {marked} follow one place through the views. Which of the boxes A, B, C and D shows it in "
    "image {k}?",
    "Images {marked} each have a red box around the same spot. Which box in image {k} is around this spot?",
)
INSTRUCTION = "Answer with the box, such as 'box A'."


def ask(group: ViewGroup, rng: np.random.Generator) -> Question | Rejection:
    """One of four boxes; the wrong ones are patches that are followed too.

    Rejected: `no_track` (no patch is seen in three views, lands in the view asked about with 40 % of its area from each
    of the others, and shows in its middle what the others have inside of theirs), `no_room_for_candidates`.
    """
    k = int(rng.integers(len(group)))
    grid = group.grid(k)
    tracks = group.tracks[group.tracks[:, k] >= 0]
    exact = [track for track in tracks[rng.permutation(len(tracks))] if (track >= 0).sum() > LEAST_MARKED]
    leading = {i: strongest_target(group.correspondence(i, k).map, LEAST_WEIGHT) for i in range(len(group)) if i != k}
    track = next((track for track in exact if _lands(track, k, leading) and _agrees(group, track)), None)
    if track is None:
        return Rejection("no_track")
    truth = int(track[k])
    chosen = candidates(truth, tracks[rng.permutation(len(tracks)), k].tolist(), grid)
    if len(chosen) < CANDIDATES:
        return Rejection("no_room_for_candidates")
    chosen = [chosen[n] for n in rng.permutation(CANDIDATES)]
    answer = BOX_LABELS[chosen.index(truth)]
    seen = [i for i in np.flatnonzero(track >= 0).tolist() if i != k]
    markers = {i: [marked(int(track[i]), group.grid(i))] for i in seen} | {k: lettered(chosen, grid)}
    names = f"{', '.join(str(i + 1) for i in seen[:-1])} and {seen[-1] + 1}"
    text = choose(PHRASINGS, rng).format(marked=names, k=k + 1)
    sentence = f"In image {k + 1} the marked place is in {answer}."
    return Question(text, answer, sentence, INSTRUCTION, BOX_LABELS, markers=markers)


def _lands(track: np.ndarray, k: int, leading: dict[int, np.ndarray]) -> bool:
    """Whether every patch of a track leads to its patch in view k."""
    return all(target[track[i]] == track[k] for i, target in leading.items() if track[i] >= 0)


def _agrees(group: ViewGroup, track: np.ndarray) -> bool:
    """Whether the middle of each patch of a track is seen inside of every other: whoever looks at a box with things
    near and far in it takes it to mean what is in its middle."""
    views = np.flatnonzero(track >= 0).tolist()
    return all(_patch_at(group, i, int(track[i]), j) == track[j] for i, j in permutations(views, 2))


def _patch_at(group: ViewGroup, i: int, patch: int, j: int) -> int:
    """The patch of view j in which the middle of a patch of view i is seen, -1 where it is not."""
    (rows, columns), (row, column) = group.grid(i), divmod(patch, group.grid(i)[1])
    outcome, (x, y) = group.outcome_at(i, j, (column + 0.5) / columns, (row + 0.5) / rows)
    if outcome != Visibility.VISIBLE:
        return -1
    rows, columns = group.grid(j)
    return int(y * rows) * columns + int(x * columns)
