"""Patches marked by boxes: candidates that keep apart from each other."""

from __future__ import annotations

from collections.abc import Iterable

from hatch_data.markers import Marker
from hatch_data.patches import Grid
from hatch_data.questions import LETTERS
from hatch_data.questions._points import CANDIDATE_COLORS, SOURCE_COLOR
from hatch_data.tracks import patch_distance

CANDIDATES = 4
#: Candidates lie at least this many patches apart, so that only one of them can be right.
LEAST_DISTANCE_PATCHES = 3
BOX_LABELS = tuple(f"box {letter}" for letter in LETTERS[:CANDIDATES])


def candidates(truth: int, others: Iterable[int], grid: Grid) -> list[int]:
    """The truth and the first of the other patches that lie apart from it and from each other, four if there are."""
    chosen = [truth]
    for patch in others:
        if all(patch_distance(int(patch), other, grid) >= LEAST_DISTANCE_PATCHES for other in chosen):
            chosen.append(int(patch))
            if len(chosen) == CANDIDATES:
                break
    return chosen


def marked(patch: int, grid: Grid) -> Marker:
    """A red box around the patch that is asked about."""
    return Marker(_box(patch, grid), "", SOURCE_COLOR)


def lettered(patches: Iterable[int], grid: Grid) -> list[Marker]:
    """Boxes A, B, ... in their colours."""
    return [Marker(_box(patch, grid), LETTERS[k], CANDIDATE_COLORS[k]) for k, patch in enumerate(patches)]


def _box(patch: int, grid: Grid) -> tuple[float, float, float, float]:
    row, column = divmod(patch, grid[1])
    return column / grid[1], row / grid[0], (column + 1) / grid[1], (row + 1) / grid[0]
