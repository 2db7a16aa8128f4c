"""Figures on held-out data: patch-match recall, and what a chat model's replies are worth."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hatch_data.actions import Pair, parse_pairs
from hatch_data.errors import ActionError
from hatch_data.patches import Grid, PatchMap


@dataclass
class MatchRecall:
    """Nearest-neighbour matching between two views, recall@1 (after Probe3D, arXiv:2404.08636).

    A source patch counts if its weights sum to 0.1 (level `region`) or its strongest is at least 0.3 (level `token`).
    A hit is when the most similar patch of the other image is the one with the strongest weight; for tokens one of
    its eight neighbours will do. Both directions of a pair count.
    """

    counted: int = 0
    hits: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        level: str,
        x_to_y: PatchMap,
        y_to_x: PatchMap,
        features: tuple[Tensor, Tensor],
        colours: tuple[Tensor, Tensor],
    ) -> None:
        """Unit features and mean colours of (patches of X, patches of Y)."""
        cosine = (features[0] @ features[1].T).cpu().numpy()
        likeness = -torch.cdist(*colours).numpy()
        for matches, by_features, by_colour in ((x_to_y, cosine, likeness), (y_to_x, cosine.T, likeness.T)):
            weight = matches.dense()
            counts = weight.max(1) >= 0.3 if level == "token" else weight.sum(1) >= 0.1
            truth = weight[counts].argmax(1)
            self.counted += int(counts.sum())
            guesses = {
                "features": by_features[counts].argmax(1),
                "mean colour": by_colour[counts].argmax(1),
                "same position": same_position(matches.source_grid, matches.target_grid)[counts],
            }
            reach = 1 if level == "token" else 0
            for name, guess in guesses.items():
                self.hits[name] += int((_apart(guess, truth, matches.target_grid) <= reach).sum())

    def share(self, name: str) -> float:
        """Recall in [0, 1] of `features`, `mean colour` or `same position`."""
        return self.hits[name] / max(self.counted, 1)


def same_position(source: Grid, target: Grid) -> NDArray[np.int64]:
    """For each patch of one grid the patch of another that its centre lies in."""
    rows, columns = ((np.arange(s) + 0.5) * t // s for s, t in zip(source, target, strict=True))
    return (rows[:, None] * target[1] + columns[None]).astype(np.int64).ravel()


def _apart(a: NDArray[np.int64], b: NDArray[np.int64], grid: Grid) -> NDArray[np.int64]:
    """Steps between patches of a grid, diagonals included."""
    return np.maximum(np.abs(a // grid[1] - b // grid[1]), np.abs(a % grid[1] - b % grid[1]))


@dataclass(frozen=True)
class Reply:
    """What an assistant says: the text of its `<action>` block, None where there is none, and its answer."""

    actions: str | None
    answer: str


_REPLY = re.compile(r"\s*(?:<action>(.*?)</action>\s*)?<answer>(.*?)</answer>\s*", re.DOTALL)


def read_reply(text: str) -> Reply | None:
    """The parts of a reply in the format `<action>...</action><answer>...</answer>`; None for another format."""
    match = _REPLY.fullmatch(text)
    return Reply(match[1], match[2].strip()) if match else None


def read_actions(block: str, vocabulary: str) -> list[Pair] | None:
    """The pairs of an `<action>` block; None where it does not say exactly what the language allows."""
    try:
        return parse_pairs(block, vocabulary=vocabulary)
    except ActionError:
        return None


def reply_figures(texts: Sequence[str], targets: Sequence[str], vocabularies: Sequence[str]) -> dict[str, float]:
    """Shares of replies in the right format, with exactly the target's actions for every pair, with at least its verbs
    in their order, and with its answer."""
    totals: Counter[str] = Counter()
    with_actions = 0
    for text, target, vocabulary in zip(texts, targets, vocabularies, strict=True):
        said, meant = read_reply(text), read_reply(target)
        assert meant is not None, target
        with_actions += meant.actions is not None
        if said is None or (said.actions is None) != (meant.actions is None):
            continue
        totals["format"] += 1
        totals["answer"] += said.answer.casefold() == meant.answer.casefold()
        if said.actions is not None and meant.actions is not None:
            pairs, wanted = (read_actions(block, vocabulary) for block in (said.actions, meant.actions))
            totals["exact"] += pairs == wanted
            totals["verbs"] += _verbs(pairs) == _verbs(wanted)
    figures = {"format right": totals["format"] / max(len(texts), 1)}
    if with_actions:
        figures["action exact match"] = totals["exact"] / with_actions
        figures["action verbs match"] = totals["verbs"] / with_actions
    return figures | {"answer right": totals["answer"] / max(len(texts), 1)}


def _verbs(pairs: list[Pair] | None) -> Any:
    return pairs and [(source, target, [step.verb for step in actions]) for source, target, actions in pairs]
