"""The command line: results to stdout, one line for what is wrong, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image

from hatch_train.cli import main
from hatch_train.inspection import check_text
from tests.train.conftest import MODEL
from tests.train.test_run import STAGES

SHIPPED = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def recipe(shards: Path, tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    tree = {"model": MODEL, "data": {"shards": [str(shards)], "workers": 0}, "stages": STAGES, "device": "cpu"}
    path.write_text(yaml.safe_dump({"output": str(tmp_path / "run"), **tree}, sort_keys=False))
    return path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_run_prints_a_table_and_logs_every_step(recipe: Path) -> None:
    result = call("run", recipe, "--set", "stages.alignment.steps=2")
    assert result.exit_code == 0, result.output
    assert "recall@1 region" in result.stdout and "held out by space" in result.stdout
    steps = [line for line in result.stderr.splitlines() if " tok/s " in line]
    assert len(steps) == 2 + 4 and max(map(len, steps)) <= 130
    again = call("run", recipe, "--set", "stages.alignment.steps=2", "--json")
    assert json.loads(again.stdout)["stages"]["supervised"]["steps"] == 4


def test_dry_run_trains_nothing(recipe: Path, tmp_path: Path) -> None:
    result = call("run", recipe, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "packs per epoch" in result.stdout and "vision_width" in result.stdout
    assert not (tmp_path / "run").exists()
    outlook = json.loads(call("run", recipe, "--dry-run", "--json").stdout)
    assert outlook["stages"]["alignment"]["items"] == 24
    assert all(stage["TFLOP per step"] > 0 for stage in outlook["stages"].values())
    vision, language = outlook["parameters"]["vision"], outlook["parameters"]["language"]
    assert outlook["stages"]["supervised"]["parameters trained"] == language
    assert outlook["stages"]["alignment"]["parameters frozen"] == language
    gigabytes = (16 * vision + 4 * language) / 1e9
    assert outlook["stages"]["alignment"]["memory before activations GB"] == pytest.approx(gigabytes, abs=0.01)


@pytest.mark.parametrize("name, memory_gb", [("qwen3b", 64), ("qwen7b", 155), ("qwen7b_lora", 42), ("qwen3vl", 82)])
def test_real_models_dry_run_without_weights_or_gpu(name: str, memory_gb: int, shards: Path, tmp_path: Path) -> None:
    """The memory is what the head of the recipe says."""
    overrides = ("--set", f"data.shards=[{shards}]", "--set", f"output={tmp_path / 'run'}")
    result = call("run", SHIPPED / f"{name}.yaml", *overrides, "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    outlook = json.loads(result.stdout)
    most = max(stage["memory before activations GB"] for stage in outlook["stages"].values())
    assert round(most) == memory_gb and f"{memory_gb} GB" in (SHIPPED / f"{name}.yaml").read_text()
    if name == "qwen7b_lora":
        q, k_v, o, mlp = 3584 + 3584, 2 * (3584 + 512), 3584 + 3584, 3 * (3584 + 18944)
        assert outlook["stages"]["supervised"]["parameters trained"] == 32 * 28 * (q + k_v + o + mlp)
    assert "vision_width" not in call("run", SHIPPED / f"{name}.yaml", *overrides, "--dry-run").stdout
    refused = call("run", SHIPPED / f"{name}.yaml", *overrides)
    assert refused.exit_code == 2
    assert "torch sees no GPU" in refused.stderr and "\n" not in refused.stderr.strip()


def test_check_shows_one_sample_and_the_sizes(recipe: Path, tmp_path: Path) -> None:
    result = call("check", recipe, "--json")
    assert result.exit_code == 0, result.output
    found, picture = json.loads(result.stdout), tmp_path / "run-check.png"
    text = check_text(found)
    assert str(picture) in text and Image.open(picture).width == 1600
    assert not (tmp_path / "run").exists()
    assert "[12 image tokens]" in text
    assert "--- learnt\n<action>[" in text
    assert found["rows"] == {"train": {"turn": 24}, "validation": {"turn": 6}, "test": {}}
    assert sum(count for *_, count in found["sizes"]["supervised"]["tokens"]) == 24


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--set", "modle.name=tiny"), "unknown key 'modle'; did you mean 'model'?"),
        (("--set", "model.max_pixel=1"), "unknown key 'model.max_pixel'; did you mean 'max_pixels'?"),
        (("--set", "stages.alignment.tua1=1"), "stage 'alignment': unknown key 'tua1'; did you mean 'tau1'?"),
        (("--set", "stages.alignment.tau1=0"), "stage 'alignment': 'tau1': input should be greater than 0 (got 0)"),
        (("--set", "stages.extra={kind: grpo}"), "stage 'extra' is of unknown kind 'grpo'; known: patch_alignment"),
        (("--set", "stages=[]"), "'stages' must name at least one stage"),
        (("--set", "data.shards=[nowhere]"), "nowhere: no such folder of shards"),
        (("--set", "data.shards=[]"), "no shards: name folders that hatch-data built"),
        (("--set", "model.name=no/such/folder"), "model no/such/folder: AutoConfig cannot open it"),
    ],
)
def test_wrong_use_is_one_line(arguments: tuple[str, ...], message: str, recipe: Path) -> None:
    result = call("run", recipe, *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_an_unknown_recipe_names_the_nearest() -> None:
    result = call("run", "tinny")
    assert result.exit_code == 2 and "did you mean 'tiny'?" in result.stderr


def test_export_of_nothing(tmp_path: Path) -> None:
    result = call("export", tmp_path, tmp_path / "out")
    assert result.exit_code == 2 and "not a checkpoint of a run" in result.stderr


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from hatch_train.cli import main; main(['--help'], standalone_mode=False); "
    code += "print([m for m in ('torch', 'transformers', 'pyarrow', 'numpy', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
