"""Whole runs: what they leave behind, and that stopping and going on changes nothing, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoTokenizer

from hatch_data.errors import SettingsError
from hatch_data.settings import to_yaml
from hatch_train import checkpoint, loop
from hatch_train.data import Shards
from hatch_train.errors import Stopped, TrainingError
from hatch_train.model import load, part_of
from hatch_train.recipe import Recipe
from hatch_train.shapes import FAMILIES
from hatch_train.stages.supervised import Supervised, prompts
from tests.train import conftest, rows
from tests.train.conftest import MakeRecipe, model_of

COMMON = {"learning_rate": 3e-3, "validation": 4}
STAGES: dict[str, dict[str, Any]] = {
    "alignment": {"kind": "patch_alignment", "steps": 5, "pairs": 4, "token_weight": 1.0, **COMMON},
    "supervised": {"steps": 4, "tokens": 500, "accumulate": 2, "replies": 3, "max_new_tokens": 8, **COMMON},
}


def weights(recipe: Recipe) -> dict[str, torch.Tensor]:
    return load_file(Path(recipe.output) / "model" / "model.safetensors")


MODELS = {family: model_of(family) for family in FAMILIES}


@pytest.fixture(scope="module", params=MODELS)
def whole(
    request: pytest.FixtureRequest, shards: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Recipe, dict[str, Any]]:
    """A run from beginning to end."""
    make = conftest.make_recipe.__wrapped__(shards, tmp_path_factory.mktemp("whole"))
    recipe = make(STAGES, model=MODELS[request.param])
    return recipe, loop.run(recipe)


class _After:
    """Stops the process as a scheduler would, after so many steps in all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, steps: int):
        step = loop._Training.step

        def counted(training: Any, *given: Any) -> dict[str, float]:
            means = step(training, *given)
            self.done += 1
            if self.done == steps:
                os.kill(os.getpid(), signal.SIGTERM)
            return means

        self.done = 0
        monkeypatch.setattr(loop._Training, "step", counted)


@pytest.mark.parametrize("steps", [3, 7])
def test_stop_and_go_on_bit_for_bit(
    steps: int, whole: tuple[Recipe, dict], make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 3 of 5 steps of alignment, and after 2 of 4 of the supervised stage."""
    recipe = make_recipe(STAGES, model=whole[0].model)
    with monkeypatch.context() as patch:
        _After(patch, steps)
        with pytest.raises(Stopped, match=r"stopped by SIGTERM after step \d of stage \w+ and saved"):
            loop.run(recipe)
    assert not (Path(recipe.output) / "model").exists()
    loop.run(recipe)
    expected, found = weights(whole[0]), weights(recipe)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    report = json.loads((Path(recipe.output) / "report.json").read_text())
    for stage, facts in whole[1]["stages"].items():
        assert {**facts, "seconds": 0} == {**report["stages"][stage], "seconds": 0}


DIES = """
import os, signal, sys
from hatch_train import loop
from hatch_train.recipe import read
step = loop._Training.step
def dying(training, number, loaded):
    means = step(training, number, loaded)
    if [training.stage.name, str(number + 1)] == sys.argv[2:]:
        os.kill(os.getpid(), signal.SIGKILL)
    return means
loop._Training.step = dying
loop.run(read(sys.argv[1]))
"""


def test_kill_9_in_every_stage(whole: tuple[Recipe, dict], make_recipe: MakeRecipe, tmp_path: Path) -> None:
    """A process killed between two checkpoints, and its successor in the next stage; the third, with another number
    of workers, ends as if nothing had been."""
    recipe = make_recipe(STAGES, model=whole[0].model, checkpoint={"every": 2})
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe))
    folder = Path(recipe.output) / "checkpoints"
    left = {("alignment", 3): ["00-00000002"], ("supervised", 3): ["00-00000005", "01-00000002"]}
    for (stage, step), expected in left.items():
        command = [sys.executable, "-c", DIES, str(tmp_path / "recipe.yaml"), stage, str(step)]
        done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert [path.name for path in checkpoint.finished(folder)] == expected
    (folder / ".01-00000003.partial").mkdir()
    loop.run(recipe.model_copy(update={"data": recipe.data.model_copy(update={"workers": 1})}))
    assert weights(whole[0]).keys() == weights(recipe).keys()
    assert all(torch.equal(weights(whole[0])[name], value) for name, value in weights(recipe).items())
    assert not list(folder.glob(".*"))


def test_a_finished_run_stays_as_it_is(whole: tuple[Recipe, dict]) -> None:
    recipe, report = whole
    before = weights(recipe)
    again = loop.run(recipe)
    assert again == report
    assert all(torch.equal(before[name], value) for name, value in weights(recipe).items())


def test_the_report(whole: tuple[Recipe, dict]) -> None:
    recipe, report = whole
    assert json.loads((Path(recipe.output) / "report.json").read_text()) == report
    assert report["split"] == ["space"]
    alignment, supervised = report["stages"]["alignment"], report["stages"]["supervised"]
    assert alignment["items"] == 24 and alignment["dropped"] == []
    for key in ("recall@1 region", "recall@1 token"):
        assert set(alignment["after"]["baselines"]) == {"same position", "mean colour"}
        assert all(0 <= figures[key] <= 1 for figures in (alignment["before"], alignment["after"]))
    assert alignment["after"]["kl"] < alignment["before"]["kl"]
    assert supervised["after"]["loss"] < supervised["before"]["loss"]
    assert supervised["after"]["baselines"]["best constant"]["format right"] == 1.0
    assert yaml.safe_load((Path(recipe.output) / "recipe.yaml").read_text()) == recipe.model_dump(mode="json")
    assert "torch" in json.loads((Path(recipe.output) / "versions.json").read_text())


def test_alignment_trains_the_tower_alone(whole: tuple[Recipe, dict], shards: Path) -> None:
    recipe, _ = whole
    start = load(recipe.model, loop.learnable_texts(recipe), recipe.seed).model.state_dict()
    first = checkpoint.finished(Path(recipe.output) / "checkpoints")[0]
    model = load(recipe.model, (), recipe.seed, Path(recipe.output) / "processor")
    checkpoint.restore(first, model.model)
    for name, value in model.model.state_dict().items():
        assert torch.equal(value, start[name]) == (part_of(name) != "vision"), name


def test_plain_transformers_opens_the_model_and_says_the_same(whole: tuple[Recipe, dict]) -> None:
    recipe, _ = whole
    folder = Path(recipe.output) / "model"
    plain = AutoModelForImageTextToText.from_pretrained(folder)
    ours = load(recipe.model, (), recipe.seed, Path(recipe.output) / "processor")
    checkpoint.restore(checkpoint.finished(Path(recipe.output) / "checkpoints")[-1], ours.model)
    assert all(torch.equal(value, ours.model.state_dict()[name]) for name, value in plain.state_dict().items())
    stage = Supervised("supervised", recipe.stages["supervised"], recipe, ours.processor)
    shards = Shards(recipe.data.shards, "validation", stage.small)
    pack = stage.batch(shards, stage.items(shards)[:1], 0).pack
    said = stage.replies(ours, prompts(pack))[0]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = pack.ids[:, : pack.prompts[0]]
    generated = plain.generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        mm_token_type_ids=(prompt == plain.config.image_token_id).int(),
        pixel_values=ours.normalised(pack.pixels),
        image_grid_thw=pack.grids,
        max_new_tokens=8,
        do_sample=False,
    )
    assert tokenizer.decode(generated[0, prompt.shape[1] :], skip_special_tokens=True) == said


def test_export_of_a_checkpoint_is_the_model(whole: tuple[Recipe, dict], tmp_path: Path) -> None:
    recipe, _ = whole
    last = checkpoint.finished(Path(recipe.output) / "checkpoints")[-1]
    loop.export(last, tmp_path / "exported")
    exported = load_file(tmp_path / "exported" / "model.safetensors")
    assert all(torch.equal(weights(recipe)[name], value) for name, value in exported.items())
    with pytest.raises(TrainingError, match="not a checkpoint of a run"):
        loop.export(last.parent, tmp_path / "other")
    with pytest.raises(TrainingError, match="not empty"):
        loop.export(last, tmp_path / "exported")


def test_a_saved_model_is_a_model_to_start_from(whole: tuple[Recipe, dict], make_recipe: MakeRecipe) -> None:
    folder = str(Path(whole[0].output) / "model")
    stage = {"supervised": {**STAGES["supervised"], "steps": 1, "replies": 0}}
    report = loop.run(make_recipe(stage, model={"name": folder, "max_pixels": 10_000}))
    before = report["stages"]["supervised"]["before"]["loss"]
    assert before == pytest.approx(whole[1]["stages"]["supervised"]["after"]["loss"], rel=1e-5)


@pytest.mark.parametrize(
    "change, difference",
    [
        ({"seed": 5}, r"seed is 0 there, 5 here"),
        ({"stages": {**STAGES, "supervised": {**STAGES["supervised"], "steps": 9}}}, r"stages.supervised.steps is 4"),
        ({"stages": {k: STAGES[k] for k in reversed(STAGES)}}, r"the stages are alignment, supervised there"),
    ],
)
def test_another_recipe_is_refused(
    change: dict[str, Any], difference: str, whole: tuple[Recipe, dict], make_recipe: MakeRecipe
) -> None:
    with pytest.raises(SettingsError, match=difference):
        loop.run(make_recipe(**{"stages": STAGES, "model": whole[0].model, "output": whole[0].output, **change}))


def test_other_shards_are_refused(make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = rows.build(tmp_path / "own", train=8, validation=2)
    recipe = make_recipe({"alignment": STAGES["alignment"]}, data={"shards": [str(folder)], "workers": 0})
    with monkeypatch.context() as patch:
        _After(patch, 2)
        with pytest.raises(Stopped):
            loop.run(recipe)
    rows.write(folder, "train", [rows.row(n) for n in range(50, 58)], shards=2)
    with pytest.raises(TrainingError, match="the shards are not those with which this run began"):
        loop.run(recipe)


def test_a_folder_of_something_else_is_left_alone(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe(STAGES)
    Path(recipe.output).mkdir()
    (Path(recipe.output) / "thesis.tex").write_text("precious")
    with pytest.raises(SettingsError, match="not empty and not a run"):
        loop.run(recipe)
    assert [path.name for path in Path(recipe.output).iterdir()] == ["thesis.tex"]


def test_a_loss_that_is_not_a_number_names_its_rows(make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def losses(_stage: Any, model: Any, _batch: Any) -> dict[str, torch.Tensor]:
        return {"text": model.model.lm_head.weight.sum() * torch.nan}

    monkeypatch.setattr(Supervised, "losses", losses)
    with pytest.raises(TrainingError, match=r"the loss of step 1 is nan; its rows: row-00\d\d, row"):
        loop.run(make_recipe({"supervised": {**STAGES["supervised"], "validation": 0}}))


def test_shards_without_held_out_rows_still_train(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    rows.write(tmp_path / "bare", "train", [rows.row(n) for n in range(8)])
    report = loop.run(
        make_recipe(
            {k: {**v, "steps": 1} for k, v in STAGES.items()}, data={"shards": [str(tmp_path / "bare")], "workers": 0}
        )
    )
    assert report["split"] == ["a rule not said"]
    assert report["stages"]["alignment"]["after"] == {}


def test_learning_rate_rises_and_falls() -> None:
    from hatch_train.stages.patch_alignment import AlignmentSettings

    settings = AlignmentSettings(steps=100, learning_rate=1.0, warmup=0.1, final_rate=0.1)
    rates = [loop.learning_rate(step, settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9] == 1.0
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[99] == pytest.approx(0.1, abs=0.01)
