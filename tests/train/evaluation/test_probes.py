"""Probes on held-out shards, against what is known of their rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from hatch_data.actions import format_pairs, parse_json
from hatch_train.cli import main
from hatch_train.data import Plan, Shards, batches
from hatch_train.evaluation import probes
from hatch_train.model import VisionLanguageModel
from hatch_train.recipe import Recipe
from hatch_train.stages.alignment import LEVELS
from hatch_train.stages.patch_alignment import PatchAlignment
from tests.train import rows
from tests.train.conftest import MODEL
from tests.train.evaluation.published import held_out


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return held_out(tmp_path_factory.mktemp("held") / "shards")


def _reply(row: rows.Row, mirrored: bool = False) -> str:
    text = format_pairs([(a.source, a.target, parse_json(a.json)) for a in row.actions])
    if mirrored:
        text = text.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right")
    return f"<action>{text}</action><answer>A</answer>"


def test_labels_as_replies_are_exact(data: Path) -> None:
    found = probes.actions(data, "", {f"row-{n}": _reply(rows.row(n, 3)) for n in range(1000, 1005)})
    assert set(found) == {"actions by turn, deg", "actions by distance, m"}
    for table in found.values():
        assert sum(figures["count"] for figures in table.values()) == 5 * 3
        for figures in table.values():
            assert figures["said"] == figures["exact"] == 1
            assert figures["turn deg"] == figures["label turn deg"] == pytest.approx(0, abs=1e-4)
            assert figures["move m"] == figures["label move m"] == figures["stay move m"] < 0.6
    turns = found["actions by turn, deg"]
    assert turns["0 - 15"]["stay turn deg"] < 15 <= turns["15 - 30"]["stay turn deg"] < 30


def test_mirrored_and_missing_actions_are_wrong(data: Path) -> None:
    replies = {f"row-{n}": _reply(rows.row(n, 3), mirrored=True) for n in range(1000, 1004)} | {"row-1004": "none"}
    for name, figures in probes.actions(data, "", replies)["actions by turn, deg"].items():
        assert figures["said"] < 1 or name != "0 - 15"
        if name != "0 - 15":
            assert figures["turn deg"] > figures["stay turn deg"] > 0
    assert probes.actions(data, "", {}) == {}


def test_matching_by_overlap_and_viewpoint(data: Path, tiny: VisionLanguageModel) -> None:
    found = probes.matching(tiny, data, "")
    assert len(found) == 4
    for title, table in found.items():
        whole = table.pop("all pairs")
        assert sum(figures["count"] for figures in table.values()) == whole["count"] == 5 * 3
        assert sum(figures["patches"] for figures in table.values()) == whole["patches"]
        assert ("PCK@0.1" in whole) == title.startswith("patch")
        for figures in table.values():
            assert all(0 <= figures[name] <= 1 for name in ("recall@1", "same position", "mean colour"))
    overlaps = found["patch matching by overlap"]
    assert list(overlaps) == sorted(overlaps) and overlaps["0.8 or more"]["patches"] > 0
    wide = found["patch matching by viewpoint change, deg"]
    assert wide["0 - 15"]["patches"] / wide["0 - 15"]["count"] > 12  # both ways, of 12 tokens an image


@pytest.mark.parametrize("level", LEVELS)
def test_matching_is_that_of_the_training_stage(data: Path, tiny: VisionLanguageModel, level: str) -> None:
    recipe = Recipe(
        output="unused",
        model={**MODEL},
        data={"shards": [str(data)], "augment": None},
        stages={"alignment": {"kind": "patch_alignment", "steps": 1, "learning_rate": 1}},
    )
    stage = PatchAlignment("alignment", recipe.stages["alignment"], recipe, tiny.processor)
    shards = Shards([str(data)], "validation", stage.small)
    plan = Plan(shards, stage.items(shards), stage.caps, 0, shuffle=False)
    wanted = stage.evaluate(tiny, batches(stage.batch, plan, 0, 0, len(plan.epoch(0)), 0))
    title = "patch" if level == "token" else "region"
    found = probes.matching(tiny, data, "")[f"{title} matching by overlap"]["all pairs"]
    assert found["recall@1"] == pytest.approx(wanted[f"recall@1 {level}"])
    for baseline, figures in wanted["baselines"].items():
        assert found[baseline] == pytest.approx(figures[f"recall@1 {level}"])


def test_probe_of_a_run_before_and_after(data: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"
    stage = {"kind": "patch_alignment", "steps": 2, "pairs": 2, "learning_rate": 0.01, "validation": 0}
    training = tmp_path / "shards"
    rows.write(training, "train", [rows.row(n) for n in range(4)])
    tree = {"output": str(out), "device": "cpu", "model": MODEL, "data": {"shards": [str(training)], "workers": 0}}
    recipe.write_text(yaml.safe_dump({**tree, "stages": {"alignment": stage}}))
    run = CliRunner().invoke(main, ["run", str(recipe)])
    assert run.exit_code == 0, run.output
    result = CliRunner().invoke(main, ["probe", str(out), "--data", str(data)])
    assert result.exit_code == 0, result.output
    assert "before" in result.stdout and "after" in result.stdout and "all pairs" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    both = json.loads(CliRunner().invoke(main, ["probe", str(out), "--data", str(data), "--json"]).stdout)
    alone = CliRunner().invoke(main, ["probe", str(out / "model"), "--data", str(data), "--json"])
    assert json.loads(alone.stdout) == {"recall@1": both["after"]} and both["before"] != both["after"]
    missing = CliRunner().invoke(main, ["probe", str(out / "model"), "--data", str(data), "--split", "train"])
    assert missing.exit_code == 2 and "no pairs of views in split train" in missing.output


def test_bins() -> None:
    found = [probes.label(value, (15, 30)) for value in (0, 15, 29, 30, 180)]
    assert found == ["0 - 15", "15 - 30", "15 - 30", "30 or more", "30 or more"]


def test_held_out_report_has_the_probes(data: Path, model_folder: Path, tmp_path: Path) -> None:
    arguments = ["eval", str(model_folder), "-b", "held_out", "-d", str(data), "--prompt", "action"]
    limits = ["--max-new-tokens", "2", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, [*arguments, *limits])
    assert result.exit_code == 0, result.output
    assert "patch matching by overlap" in result.stdout and "actions by turn, deg" in result.stdout
    assert max(map(len, result.stdout.splitlines()[1:-1])) <= 80
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report["categories"]) == {"turn choice"} and len(report["probes"]) == 6


def test_rows_without_actions_have_no_action_probe(tmp_path: Path) -> None:
    rows.write(tmp_path, "test", [replace(rows.row(1), actions=[])])
    assert probes.actions(tmp_path, "", {"row-0001": "stay"}) == {}
