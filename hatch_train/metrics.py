"""Figures on held-out data: patch-match recall, and what a chat model's replies are worth."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
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

#: PCK counts a keypoint that is off by at most this share of the target image's longer side.
PCK = 0.1


@dataclass
class MatchFigures:
    """Nearest-neighbour matching between two views at one level, `region` or `token`: recall@1, recall@5 (after
    Probe3D, arXiv:2404.08636) and, for tokens, the percentage of correct keypoints, PCK@0.1.

    A source patch counts if its weights sum to 0.1 (region) or its strongest is at least 0.3 (token). Recall@k asks
    whether the patch with the strongest weight, or for tokens one of its eight neighbours, is among the k most similar
    of the other image; PCK whether its centre is near that of the most similar. Both directions of a pair count.
    """

    level: str
    counted: int = 0
    hits: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(
        self, x_to_y: PatchMap, y_to_x: PatchMap, features: tuple[Tensor, Tensor], colours: tuple[Tensor, Tensor]
    ) -> None:
        """Unit features and mean colours of (patches of X, patches of Y)."""
        cosine = (features[0] @ features[1].T).cpu().numpy()
        likeness = -torch.cdist(*colours).numpy()
        for matches, by_features, by_colour in ((x_to_y, cosine, likeness), (y_to_x, cosine.T, likeness.T)):
            weight = matches.dense()
            counts = weight.max(1) >= 0.3 if self.level == "token" else weight.sum(1) >= 0.1
            truth = weight[counts].argmax(1)
            self.counted += int(counts.sum())
            scores = {
                "features": by_features,
                "mean colour": by_colour,
                "same position": nearness(matches.source_grid, matches.target_grid),
            }
            for name, score in scores.items():
                self._judge(self.hits[name], score[counts], truth, matches.target_grid)

    def _judge(
        self, hits: Counter[str], score: NDArray[np.float32], truth: NDArray[np.int64], target_grid: Grid
    ) -> None:
        """`score` is (counted, target patches), the most similar highest; `truth` (counted,) patches."""
        best = np.argsort(-score, axis=1, kind="stable")[:, :5]
        rows, columns = (
            np.abs(a - b[:, None])
            for a, b in zip(divmod(best, target_grid[1]), divmod(truth, target_grid[1]), strict=True)
        )
        hit = np.maximum(rows, columns) <= (self.level == "token")
        hits["recall@1"] += int(hit[:, 0].sum())
        hits["recall@5"] += int(hit.any(axis=1).sum())
        if self.level == "token":
            hits[f"PCK@{PCK}"] += int((np.hypot(rows, columns)[:, 0] <= PCK * max(target_grid)).sum())

    def shares(self, name: str) -> dict[str, float]:
        """Figures in [0, 1] of `features`, `mean colour` or `same position`, as `recall@1 region`."""
        return {f"{figure} {self.level}": n / max(self.counted, 1) for figure, n in self.hits[name].items()}


def nearness(source: Grid, target: Grid) -> NDArray[np.float32]:
    """(source patches, target patches): the nearer two centres lie in their images, the higher."""
    ys, xs = (
        ((np.arange(s) + 0.5)[:, None] / s - (np.arange(t) + 0.5) / t) ** 2 for s, t in zip(source, target, strict=True)
    )
    apart = ys[:, None, :, None] + xs[None, :, None, :]
    return -apart.reshape(source[0] * source[1], target[0] * target[1]).astype(np.float32)


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
