"""Arms and seeds: what is compared, that it is compared on equal terms, and that a second run does nothing again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp

from hatch_data.errors import SettingsError
from hatch_data.settings import shipped_recipes, validate
from hatch_train import ablation, loop, readout
from hatch_train.ablation_report import judgement, over_seeds, standard_error, verdicts
from hatch_train.readout import Head, ReadoutSettings
from tests.train.conftest import MODEL

ALIGNMENT = {"kind": "patch_alignment", "steps": 2, "pairs": 2, "learning_rate": 1e-3, "validation": 2}
ANSWERS = {"kind": "supervised", "steps": 2, "tokens": 600, "learning_rate": 1e-3, "validation": 0, "replies": 0}


def tree(shards: Path, output: Path, **changes: Any) -> dict[str, Any]:
    return {
        "output": str(output),
        "seeds": 2,
        "device": "cpu",
        "model": MODEL,
        "data": {"shards": [str(shards)], "workers": 0, "augment": {}},
        "stages": {"pasta": ALIGNMENT, "answers": ANSWERS},
        "arms": {"QA only": {"stages": ["answers"]}, "PaStA": {"stages": ["pasta", "answers"]}},
        "against": ["QA only"],
        **changes,
    }


READOUT = {"pairs": 12, "held_out_pairs": 8, "split": "validation", "steps": 4, "width": 8, "batch": 4}


@pytest.fixture(scope="module")
def whole(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ablation.Ablation, dict[str, Any]]:
    questions = {"data": str(shards), "benchmark": "held_out_validation", "limit": 4, "max_new_tokens": 4}
    settings = tree(shards, tmp_path_factory.mktemp("ablation"), readout=READOUT, questions=questions)
    made = validate(ablation.Ablation, settings, "test")
    return made, ablation.run(made)


def test_every_arm_has_a_score_for_every_seed(whole: tuple[ablation.Ablation, dict[str, Any]]) -> None:
    made, report = whole
    assert report["seeds"] == [0, 1]
    for kind, measure in (("readout", "yaw bin"), ("questions", "answers")):
        found = report["judged"][kind][measure]
        assert {name: len(own["seeds"]) for name, own in found["arms"].items()} == {"QA only": 2, "PaStA": 2}
        assert found["rows"] > 0
        assert list(found["against"]) == ["QA only"]
    output = Path(made.output)
    pictures = {"readout.png", "readout-curves.png", "questions.png", "training.png"}
    assert pictures | {"report.md", "report.json"} <= {path.name for path in output.iterdir()}
    assert json.loads((output / "report.json").read_text())["judged"] == json.loads(json.dumps(report["judged"]))


def test_arms_of_a_seed_start_alike_and_see_the_same(whole: tuple[ablation.Ablation, dict[str, Any]]) -> None:
    made, report = whole
    runs = {tuple(run["stages"]): run for run in report["runs"]}
    assert list(runs) == [("answers",), ("pasta",), ("pasta", "answers")]
    with_, without = runs["pasta", "answers"], runs["answers",]
    assert (with_["samples"], with_["tokens"]) == (without["samples"], without["tokens"])
    assert all(len(points) == 2 for points in with_["curves"].values())
    processors = [
        (Path(made.output) / "seed-0" / name / "processor" / "tokenizer.json").read_bytes()
        for name in ("answers", "pasta", "pasta+answers")
    ]
    assert processors[0] == processors[1] == processors[2]


def test_a_second_run_trains_nothing(
    whole: tuple[ablation.Ablation, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, report = whole

    def refused(*_: Any) -> None:
        raise AssertionError("trained or judged again")

    for module, name in ((loop, "run"), (ablation, "read_out"), (ablation.evaluation, "evaluate")):
        monkeypatch.setattr(module, name, refused)
    assert ablation.run(made)["judged"] == report["judged"]


def test_another_recipe_in_the_same_folder_is_refused(whole: tuple[ablation.Ablation, dict[str, Any]]) -> None:
    made, _ = whole
    changed = made.stages["answers"].model_copy(update={"steps": 3})
    other = made.model_copy(update={"stages": {**made.stages, "answers": changed}})
    with pytest.raises(
        SettingsError, match=r"holds a run of another recipe \(stages.answers.steps is 2 there, 3 here\)"
    ):
        ablation.run(other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": {"QA only": {"stages": ["rest"]}}, "readout": READOUT}, "arm 'QA only' has no stage 'rest'"),
        ({"against": ["none"], "readout": READOUT}, "against: no arm is called 'none'; known: QA only, PaStA"),
        ({}, "nothing judges the arms: set readout or questions"),
    ],
)
def test_recipes_that_make_no_sense(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        validate(ablation.Ablation, tree(tmp_path, tmp_path, **changes), "test")


@pytest.mark.parametrize("path", sorted((shipped_recipes() / "ablation").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_have_a_control_for_what_they_test(path: Path) -> None:
    made = ablation.read(path.stem)
    assert made.seeds >= 3
    arms = {stage for arm in made.arms.values() for stage in arm.stages}
    assert arms == set(made.stages)
    if path.stem == "alignment":
        # Its settings are held against the default ones, whose own control is in `readout`.
        assert made.against == ("default",)
        assert made.stages["default"] == ablation.read("readout").stages["pasta"]
        return
    controls = [stage for stage in made.stages.values() if getattr(stage, "control", None) == "shuffled"]
    assert len(controls) == 1
    plain = {name: stage for name, stage in made.stages.items() if stage.kind == "patch_alignment"}
    (control,) = controls
    assert any(
        stage.model_copy(update={"control": "shuffled"}) == control for stage in plain.values() if not stage.control
    )


def found(scores: dict[str, float]) -> dict[str, Any]:
    return {"scores": {"right": scores}, "groups": {row: row[0] for row in scores}, "chance": {"right": 0.5}}


def test_differences_are_paired_over_seeds_and_over_scenes() -> None:
    """Twenty scenes of two rows; B is right a quarter more often in every seed, C is as good as A."""
    rows = [f"{chr(97 + k)}{n}" for k in range(20) for n in range(2)]
    results = {}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        a = {row: float(rng.random() < 0.4) for row in rows}
        c = dict(zip(rows, rng.permutation(list(a.values())).tolist(), strict=True))
        b = {row: max(value, float(k % 4 == seed % 4)) for k, (row, value) in enumerate(a.items())}
        results[seed] = {"A": found(a), "B": found(b), "C": found(c)}
    table = judgement(results, ["A"])
    figures = table["right"]["against"]["A"]
    changes = [
        np.mean(list(r["B"]["scores"]["right"].values())) - np.mean(list(r["A"]["scores"]["right"].values()))
        for r in results.values()
    ]
    assert figures["B"]["difference"] == pytest.approx(np.mean(changes))
    assert figures["B"]["se"] == pytest.approx(np.std(changes, ddof=1) / 2)
    assert figures["B"]["p seeds"] == pytest.approx(ttest_1samp(changes, 0).pvalue)
    assert figures["B"]["p scenes"] < 0.01
    assert figures["B"]["low"] > 0
    assert figures["C"]["difference"] == pytest.approx(0)
    assert figures["C"]["p seeds"] == 1
    said = verdicts(table)
    assert said[0].startswith("right: B against A: better (+")
    assert said[1].startswith("right: C against A: no difference shown")


def test_one_seed_has_no_error_and_no_test() -> None:
    assert standard_error([0.5]) is None
    assert over_seeds([0.5], [0.7]) is None
    assert over_seeds([0.5, 0.6], [0.5, 0.6]) == 1
    assert over_seeds([0.5, 0.6], [0.75, 0.85]) == 0


def test_a_head_reads_the_turn_from_perfect_matches() -> None:
    """Match matrices of a strip of 8 tokens that moves by as many columns as the camera turned bins."""
    rng = np.random.default_rng(0)
    settings = ReadoutSettings(bins=5, bin_deg=10, steps=150, width=32, batch=32, learning_rate=3e-3)

    def pairs(count: int) -> readout.Pairs:
        turns = rng.integers(-2, 3, count)
        eyes = [torch.eye(8).roll(int(turn), dims=1).half() for turn in turns]
        names = [str(k) for k in range(count)]
        shares = [{"region": 1.0, "token": 1.0, "region by position": 0.5, "token by position": 0.25}] * count
        return readout.Pairs(names, names, (10.0 * turns).tolist(), {"tower": eyes}, {"tower": shares})

    judged = readout._judged("tower", pairs(200), pairs(50), settings, 0)
    assert np.mean(list(judged["scores"]["yaw bin"].values())) == 1
    assert np.mean(list(judged["scores"]["yaw side"].values())) == 1
    assert judged["chance"]["token match recall@1"] == 0.25
    assert judged["said"] == judged["truth"]


def test_bins_are_symmetric_and_open_at_the_ends() -> None:
    settings = ReadoutSettings(bins=5, bin_deg=10)
    yaw = np.array([-170.0, -24, -14, -4, 4, 14, 24, 170])
    assert settings.bin_of(yaw).tolist() == [0, 0, 1, 2, 2, 3, 4, 4]
    assert [settings.said(k) for k in range(5)] == [
        "20 deg right",
        "10 deg right",
        "ahead",
        "10 deg left",
        "20 deg left",
    ]
    assert Head((4, 4), settings)(torch.zeros(3, 4, 4)).shape == (3, 5)
