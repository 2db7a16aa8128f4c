from __future__ import annotations

import numpy as np
import pytest
import torch

from hatch_data.patches import PatchMap
from hatch_train.metrics import MatchFigures, nearness, read_reply, reply_figures


def one_to_one(grid: tuple[int, int], permutation: np.ndarray, weight: float = 1.0) -> PatchMap:
    n = grid[0] * grid[1]
    weights, zeros = np.full(n, weight, np.float32), np.zeros(n, np.uint8)
    return PatchMap(grid, grid, np.arange(n), permutation, weights, np.ones(n, np.float32), zeros)


@pytest.mark.parametrize("level", ["region", "token"])
def test_matches_count_both_ways(level: str) -> None:
    rng = np.random.default_rng(0)
    permutation = rng.permutation(16)
    back = np.argsort(permutation)
    x = torch.eye(16)
    y = x[back]  # the feature of x's patch i stands at place permutation[i] of y
    figures = MatchFigures(level)
    figures.add(
        one_to_one((4, 4), permutation), one_to_one((4, 4), back), (x, y), (torch.rand(16, 3), torch.rand(16, 3))
    )
    assert figures.counted == 32
    assert set(figures.shares("features").values()) == {1.0}
    assert figures.shares("same position")[f"recall@1 {level}"] < 1.0


def test_figures_count_by_rank_and_by_distance() -> None:
    """One row of 20 patches, each matching itself; the most similar is `shift` to the right, the true one is 2nd."""
    itself, eye = one_to_one((1, 20), np.arange(20)), torch.eye(20)
    for shift, expected in ((1, (0, 1, 1, 1, 1)), (2, (0, 1, 0, 1, 1)), (3, (0, 1, 0, 1, 0))):
        found = []
        for level in ("region", "token"):
            figures = MatchFigures(level)
            shifted = 2 * eye.roll(shift, 1) + eye
            figures.add(itself, itself, (shifted, eye), (torch.zeros(20, 1), torch.zeros(20, 1)))
            found += list(figures.shares("features").items())
        names = ("recall@1 region", "recall@5 region", "recall@1 token", "recall@5 token", "PCK@0.1 token")
        assert tuple(name for name, _ in found) == names
        # At the ends of the row the shift wraps around.
        assert [share for _, share in found] == pytest.approx(expected, abs=0.16)


def test_weak_matches_do_not_count() -> None:
    figures = MatchFigures("token")
    weak, back = one_to_one((2, 2), np.arange(4), 0.29), one_to_one((2, 2), np.arange(4), 0.31)
    figures.add(weak, back, (torch.eye(4), torch.eye(4)), (torch.eye(4)[:, :3], torch.eye(4)[:, :3]))
    assert figures.counted == 4


def test_nearest_position_on_another_grid() -> None:
    assert nearness((2, 2), (2, 2)).argmax(1).tolist() == [0, 1, 2, 3]
    assert nearness((1, 2), (1, 6)).argmax(1).tolist() == [1, 4]
    assert nearness((2, 1), (6, 1)).argmax(1).tolist() == [1, 4]


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
