from __future__ import annotations

import numpy as np
import pytest
import torch

from hatch_data.patches import PatchMap
from hatch_train.metrics import MatchRecall, read_reply, reply_figures, same_position


def one_to_one(grid: tuple[int, int], permutation: np.ndarray, weight: float = 1.0) -> PatchMap:
    n = grid[0] * grid[1]
    weights, zeros = np.full(n, weight, np.float32), np.zeros(n, np.uint8)
    return PatchMap(grid, grid, np.arange(n), permutation, weights, np.ones(n, np.float32), zeros)


@pytest.mark.parametrize("level", ["region", "token"])
def test_recall_counts_hits_both_ways(level: str) -> None:
    rng = np.random.default_rng(0)
    permutation = rng.permutation(16)
    back = np.argsort(permutation)
    x = torch.eye(16)
    y = x[back]  # the feature of x's patch i stands at place permutation[i] of y
    recall = MatchRecall()
    forth, and_back = one_to_one((4, 4), permutation), one_to_one((4, 4), back)
    recall.add(level, forth, and_back, (x, y), (torch.rand(16, 3), torch.rand(16, 3)))
    assert recall.counted == 32
    assert recall.share("features") == 1.0
    assert recall.share("same position") < 1.0


def test_weak_matches_do_not_count() -> None:
    recall = MatchRecall()
    weak, back = one_to_one((2, 2), np.arange(4), 0.29), one_to_one((2, 2), np.arange(4), 0.31)
    recall.add("token", weak, back, (torch.eye(4), torch.eye(4)), (torch.eye(4)[:, :3], torch.eye(4)[:, :3]))
    assert recall.counted == 4


def test_same_position_scales_to_the_other_grid() -> None:
    assert same_position((2, 2), (2, 2)).tolist() == [0, 1, 2, 3]
    assert same_position((1, 2), (2, 4)).tolist() == [5, 7]


TARGET = '<action>[{"from": 1, "to": 2, "actions": [{"turn_left_deg": 30}]}]</action><answer>B</answer>'


@pytest.mark.parametrize(
    "said, right",
    [
        (TARGET, (1, 1, 1, 1)),
        (TARGET.replace(": ", ":").replace("<answer>", "\n<answer> "), (1, 1, 1, 1)),
        (TARGET.replace("30", "35"), (1, 0, 1, 1)),
        (TARGET.replace("left", "right"), (1, 0, 0, 1)),
        (TARGET.replace(">B<", ">A<"), (1, 1, 1, 0)),
        (TARGET.replace('"to": 2', '"to": 3'), (1, 0, 0, 1)),
        (TARGET.replace("}]}]", "}"), (1, 0, 0, 1)),
        ("<answer>B</answer>", (0, 0, 0, 0)),
        (f"{TARGET} and so on", (0, 0, 0, 0)),
        ("", (0, 0, 0, 0)),
    ],
)
def test_replies_are_read_strictly(said: str, right: tuple[int, ...]) -> None:
    figures = reply_figures([said], [TARGET], ["full"])
    assert (
        tuple(figures[k] for k in ("format right", "action exact match", "action verbs match", "answer right")) == right
    )


def test_a_reply_without_actions_is_judged_by_its_answer() -> None:
    assert reply_figures(["<answer>b</answer>"], ["<answer>B</answer>"], ["full"]) == {
        "format right": 1.0,
        "answer right": 1.0,
    }
    assert read_reply("B") is None
