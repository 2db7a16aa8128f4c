from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import wilcoxon

from hatch_data.actions import format_pairs, parse_text
from hatch_data.patches import PatchMap
from hatch_train.metrics import MatchFigures, central, most_frequent, nearness, paired, reply_figures
from hatch_train.rewards import Wanted


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


PAIRS = [(0, 1, parse_text("turn_left 30deg"))]
TARGET = f"<action>{format_pairs(PAIRS)}</action><answer>B</answer>"
WANTED = Wanted(PAIRS, "B", ["left", "right"])


@pytest.mark.parametrize(
    "said, right",
    [
        (TARGET, (1, 1, 1, 1)),
        (TARGET.replace(": ", ":").replace("<answer>", "\n<answer> "), (1, 1, 1, 1)),
        (TARGET.replace("30", "35"), (1, 0, 1, 1)),
        (TARGET.replace("left", "right"), (1, 0, 0, 1)),
        (TARGET.replace(">B<", ">A<"), (1, 1, 1, 0)),
        (TARGET.replace('"to": 2', '"to": 3'), (0, 0, 0, 1)),
        (TARGET.replace("}]}]", "}"), (0, 0, 0, 1)),
        ("<answer>B</answer>", (0, 0, 0, 0)),
        (f"{TARGET} and so on", (0, 0, 0, 0)),
        ("", (0, 0, 0, 0)),
    ],
)
def test_replies_are_read_strictly(said: str, right: tuple[int, ...]) -> None:
    figures = reply_figures([said], [WANTED])
    names = ("format right", "action exact match", "action verbs match", "answer right")
    assert tuple(figures[name] for name in names) == right


def test_a_reply_without_actions_is_judged_by_its_answer() -> None:
    figures = reply_figures(["<answer>b</answer>"], [Wanted([], "B", ["left", "right"])])
    assert figures == {"format right": 1.0, "answer right": 1.0, "answer reward": 1.0}


def replies(*actions: str) -> list[Wanted]:
    return [Wanted([(0, 1, parse_text(text))], "AB"[n % 2], ["a", "b"]) for n, text in enumerate(actions)]


def test_guesses_that_never_look() -> None:
    wanted = replies("stay", "stay", "turn_left 40deg", "turn_left 50deg", "turn_left 60deg", "turn_left 50deg")
    targets = [f"<action>{format_pairs(w.pairs)}</action><answer>{w.answer}</answer>" for w in wanted]
    tasks = ["turn"] * 5 + ["other"]
    assert most_frequent(wanted, tasks) == [targets[0]] * 5 + [targets[1]]
    guesses = central(wanted, tasks)
    assert len(set(guesses[:5])) == 1 and "turn_left_deg" in guesses[0] and "<answer>A</answer>" in guesses[0]
    best = reply_figures(guesses, wanted)["action agreement"]
    for text in ("stay", "turn_left 40deg", "turn_left 60deg"):
        constant = f"<action>{format_pairs([(0, 1, parse_text(text))])}</action><answer>A</answer>"
        assert best >= reply_figures([constant] * 6, wanted)["action agreement"]


def test_a_paired_test() -> None:
    """Against scipy and the plain mean, on the rows that both have."""
    rng = np.random.default_rng(0)
    before = {"id": [str(n) for n in range(40)], "action": rng.uniform(0, 1, 40).tolist()}
    after = {"id": before["id"][::-1], "action": [a + rng.normal(0.1, 0.1) for a in before["action"][::-1]]}
    before["action"][3] = None
    found = paired(before, after, "action")
    changes = np.array([a - b for a, b in zip(after["action"][::-1], before["action"], strict=True) if b is not None])
    assert found["rows"] == 39
    assert found["difference"] == pytest.approx(changes.mean())
    assert found["p"] == pytest.approx(wilcoxon(changes).pvalue) and found["p"] < 1e-4
    error = changes.std() / np.sqrt(39)
    assert found["low"] == pytest.approx(changes.mean() - 1.96 * error, abs=0.3 * error)
    assert found["high"] == pytest.approx(changes.mean() + 1.96 * error, abs=0.3 * error)
    assert paired(before, before, "action")["p"] == 1.0
    assert paired({"id": ["1"], "action": [None]}, after, "action") is None
