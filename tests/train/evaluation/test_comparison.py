"""Paired tests of two reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from hatch_train.cli import main
from hatch_train.errors import EvaluationError
from hatch_train.evaluation import comparison
from hatch_train.evaluation.comparison import bootstrap, compare, holm, mcnemar, read_report


def report(scores: list[float], **changes: Any) -> dict[str, Any]:
    told = [
        {"id": f"{i:03d}", "category": "ab"[i % 2], "group": f"{i // 2}", "native": s, "repaired": s}
        for i, s in enumerate(scores)
    ]
    return {"benchmark": "mmsi", "sample_set": "x", "checkpoint": "base", "prompt": "plain", "scores": told, **changes}


def test_mcnemar_is_the_exact_binomial_test() -> None:
    assert mcnemar(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    assert mcnemar(3, 3) == mcnemar(0, 0) == 1


def test_right_and_wrong_is_mcnemar() -> None:
    found = compare(report([0] * 10 + [1] * 10), report([1] * 8 + [0] * 2 + [1] * 9 + [0], checkpoint="tuned"))
    whole = found["repaired"]
    assert (whole["test"], whole["gained"], whole["lost"]) == ("mcnemar", 8, 1)
    assert whole["p"] == pytest.approx(2 * 10 / 2**9)
    assert whole["difference"] == pytest.approx(0.35) and whole["low"] < 0.35 < whole["high"]
    assert found["differs"] == {"checkpoint": ["base", "tuned"]}
    assert "8 gained, 1 lost" in comparison.text(found)


def test_scores_in_between_are_bootstrapped_over_groups() -> None:
    rng = np.random.default_rng(1)
    first = rng.uniform(0, 0.8, 60)
    second = first + rng.normal(0.1, 0.05, 60)
    found = compare(report(first.tolist()), report(second.tolist()))["repaired"]
    assert found["test"] == "bootstrap" and found["p"] < 0.001 and 0.05 < found["low"] < found["high"] < 0.15
    assert compare(report(first.tolist()), report(first.tolist()))["repaired"]["p"] == 1


def test_dependent_samples_widen_the_interval() -> None:
    difference = np.repeat(np.random.default_rng(0).normal(0, 1, 20), 10)
    alone = bootstrap(difference, [str(i) for i in range(200)])
    grouped = bootstrap(difference, [str(i // 10) for i in range(200)])
    assert grouped[1] - grouped[0] > 2 * (alone[1] - alone[0])


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@pytest.mark.parametrize(
    "other, told",
    [
        (report([1, 0], benchmark="blink"), "the reports are of mmsi and of blink"),
        (report([1, 0, 1]), "1 samples only in the second, such as 002"),
        (report([1]), "1 samples only in the first, such as 001"),
        (report([1, 0], sample_set="y"), "same ids but other questions or answers"),
    ],
)
def test_other_samples_are_refused(other: dict[str, Any], told: str) -> None:
    with pytest.raises(EvaluationError, match=told):
        compare(report([1, 0]), other)


def test_the_command(tmp_path: Path) -> None:
    for name, scores in (("a", [0.0, 1, 1, 0]), ("b", [1.0, 1, 1, 0])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(report(scores)))
    result = CliRunner().invoke(main, ["compare", str(tmp_path / "a"), str(tmp_path / "b" / "report.json")])
    assert result.exit_code == 0 and "1 gained, 0 lost, p 1" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    as_json = CliRunner().invoke(main, ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json"])
    assert json.loads(as_json.stdout)["repaired"]["difference"] == 0.25
    missing = CliRunner().invoke(main, ["compare", str(tmp_path / "a"), str(tmp_path / "c")])
    assert missing.exit_code == 2 and "c: no readable report" in missing.stderr
    (tmp_path / "c").write_text("{}")
    with pytest.raises(EvaluationError, match="not a report of an evaluation"):
        read_report(tmp_path / "c")
