"""Figures on held-out data: patch-match recall, and what a chat model's replies are worth."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import wilcoxon
from torch import Tensor

from hatch_data.actions import Actions, Pair, execute, format_pairs
from hatch_data.patches import Grid, PatchMap
from hatch_train.rewards import Wanted, agreement, answer_reward, judge, read_actions, read_reply

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


#: The rewards, as `hatch_train.rewards.Rewards` names them -> as a figure.
REWARDS = {"action": "action agreement", "answer": "answer reward", "format": "format right"}


def reply_figures(texts: Sequence[str], wanted: Sequence[Wanted]) -> dict[str, float]:
    """Mean of each reward; shares of replies with exactly the wanted actions for every pair, with at least their verbs
    in their order, and with exactly the answer."""
    sums: Counter[str] = Counter()
    rewards = [judge(text, what) for text, what in zip(texts, wanted, strict=True)]
    for text, what in zip(texts, wanted, strict=True):
        said = read_reply(text)
        if said is None or (said.actions is None) == bool(what.pairs):
            continue
        sums["answer"] += said.answer.casefold() == what.answer.casefold()
        if said.actions is not None:
            pairs = read_actions(said.actions, what.vocabulary)
            sums["exact"] += pairs == what.pairs
            sums["verbs"] += _verbs(pairs) == _verbs(what.pairs)
    figures = {"format right": _mean([r.format for r in rewards])}
    if actions := [r.action for r in rewards if r.action is not None]:
        figures["action agreement"] = _mean(actions)
        figures["action exact match"] = sums["exact"] / len(actions)
        figures["action verbs match"] = sums["verbs"] / len(actions)
    figures["answer right"] = sums["answer"] / max(len(texts), 1)
    return figures | {"answer reward": _mean([r.answer for r in rewards])}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _verbs(pairs: list[Pair] | None) -> Any:
    return pairs and [(source, target, [step.verb for step in actions]) for source, target, actions in pairs]


def most_frequent(wanted: Sequence[Wanted], tasks: Sequence[str]) -> list[str]:
    """The constant reply that is right most often: for each pair of places in a row the most frequent actions among
    those wanted there, for each task the most frequent answer."""

    def best_actions(said: list[Actions]) -> Actions:
        return Counter(said).most_common(1)[0][0]

    def best_answer(group: list[Wanted]) -> str:
        return Counter(one.answer for one in group).most_common(1)[0][0]

    return _constant(wanted, tasks, best_actions, best_answer)


def central(wanted: Sequence[Wanted], tasks: Sequence[str]) -> list[str]:
    """The constant reply that earns most: for each pair of places in a row, the actions among those wanted there that
    agree best with all of them; for each task the answer with the highest reward."""

    def best_actions(said: list[Actions]) -> Actions:
        motions = [execute(one) for one in said]
        return said[int(np.argmax([sum(agreement(one, other) for other in motions) for one in motions]))]

    def best_answer(group: list[Wanted]) -> str:
        earned = [sum(answer_reward(one.answer, other.answer, other.options) for other in group) for one in group]
        return group[int(np.argmax(earned))].answer

    return _constant(wanted, tasks, best_actions, best_answer)


def _constant(
    wanted: Sequence[Wanted],
    tasks: Sequence[str],
    best_actions: Callable[[list[Actions]], Actions],
    best_answer: Callable[[list[Wanted]], str],
) -> list[str]:
    """What a model can say that never looks, chosen among what is wanted of these very samples."""
    actions: dict[tuple[int, int], list[Actions]] = defaultdict(list)
    alike: dict[str, list[Wanted]] = defaultdict(list)
    for what, task in zip(wanted, tasks, strict=True):
        alike[task].append(what)
        for source, target, own in what.pairs:
            actions[source, target].append(own)
    steps = {pair: best_actions(said) for pair, said in actions.items()}
    answers = {task: best_answer(group) for task, group in alike.items()}
    replies = []
    for what, task in zip(wanted, tasks, strict=True):
        pairs = [(source, target, steps[source, target]) for source, target, _ in what.pairs]
        block = f"<action>{format_pairs(pairs)}</action>" if pairs else ""
        replies.append(f"{block}<answer>{answers[task]}</answer>")
    return replies


def paired(before: dict[str, Any], after: dict[str, Any], name: str) -> dict[str, float] | None:
    """How a reward changed on the rows that were judged both times: the mean difference, its 95 % bootstrap interval
    over rows, and p of Wilcoxon's signed-rank test, two-sided. None where no row has it.

    `before` and `after` hold columns: `id` and the rewards, None where a row has none.
    """
    first, second = (dict(zip(rows["id"], rows[name], strict=True)) for rows in (before, after))
    changes = [second[row] - worth for row, worth in first.items() if worth is not None and row in second]
    if not changes:
        return None
    change = np.array(changes)
    drawn = np.random.default_rng(0).integers(len(change), size=(10_000, len(change)))
    low, high = np.quantile(change[drawn].mean(1), (0.025, 0.975))
    p = float(wilcoxon(change).pvalue) if change.any() else 1.0
    return {"rows": len(change), "difference": float(change.mean()), "low": float(low), "high": float(high), "p": p}
