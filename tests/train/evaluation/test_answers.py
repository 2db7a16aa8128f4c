"""What a reply says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_train.evaluation.answers import cut, letter, mean_relative_accuracy, number


@pytest.mark.parametrize(
    "reply, kept",
    [
        ("<answer>B</answer>", "B"),
        ("<answer>A</answer> no: <answer> C. left </answer> .", "C. left"),
        ("<action>[]</action><answer>B", "B"),
        ("<Answer>B</Answer>", "B"),
        ("  B ", "B"),
        ("<answer></answer>", ""),
    ],
)
def test_cut(reply: str, kept: str) -> None:
    assert cut(reply) == kept


@pytest.mark.parametrize(
    "text, named",
    [
        ("B", "B"),
        ("(b).", "B"),
        ("**B**", "B"),
        (r"\boxed{C}", "C"),
        ("Option D", "D"),
        ("B. the left one, not A", "B"),
        ("A chair", None),
        ("A chair, so C", "C"),
        ("It's a B", "B"),
        ("B or C", None),
        ("the left one.", "A"),
        ("E", None),
        ("<action>turn A</action> B", "B"),
        ("", None),
        ("I'd say the answer is (C), since D is behind", "C"),
    ],
)
def test_letter(text: str, named: str | None) -> None:
    assert letter(text, "ABCD", ("the left one", "the right one", "front", "back")) == named


@pytest.mark.parametrize(
    "text, value",
    [
        ("2.5 m", 2.5),
        ("between 1-2 m", 2.0),
        ("-3", -3.0),
        ("1,200 mm", 1200.0),
        ("1e-1", 0.1),
        ("image 3", None),
        ("Three.", 3.0),
        ("in image 2, .5", 0.5),
        ("far", None),
    ],
)
def test_number(text: str, value: float | None) -> None:
    assert number(text) == value


def test_mean_relative_accuracy_has_ten_thresholds_as_the_published_expression_gives() -> None:
    assert int((0.95 - 0.5) / 0.05 + 2) == 10
    assert [mean_relative_accuracy(1 + e, 1.0) for e in (0, 0.07, 0.5, 0.6)] == pytest.approx([1, 0.9, 0.1, 0])


@given(st.floats(0.01, 100), st.floats(0, 100))
def test_mean_relative_accuracy_falls_with_the_error(truth: float, error: float) -> None:
    nearer, farther = (mean_relative_accuracy(truth + e, truth) for e in (error / 2, error))
    assert 0 <= farther <= nearer <= 1
