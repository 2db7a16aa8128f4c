"""Whole runs: what they leave behind, and that stopping and going on changes nothing, bit for bit."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoTokenizer

from hatch_data.errors import SettingsError
from hatch_train import adapters, checkpoint, loop
from hatch_train.data import Shards
from hatch_train.errors import Stopped, TrainingError
from hatch_train.model import load, part_of
from hatch_train.recipe import Recipe
from hatch_train.shapes import FAMILIES
from hatch_train.stages import KINDS
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
MODELS["lora"] = {**conftest.MODEL, "lora": {"rank": 4, "alpha": 8}}


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


@pytest.mark.parametrize("whole", ["qwen3_vl"], indirect=True)
def test_stop_and_go_on_bit_for_bit(
    whole: tuple[Recipe, dict], make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after 3 of 5 steps of alignment, and again after 2 of 4 of the supervised stage."""
    recipe = make_recipe(STAGES, model=whole[0].model)
    for steps, place in ((3, "step 3 of stage alignment"), (4, "step 2 of stage supervised")):
        with monkeypatch.context() as patch:
            _After(patch, steps)
            with pytest.raises(Stopped, match=f"stopped by SIGTERM after {place} and saved"):
                loop.run(recipe)
    assert not (Path(recipe.output) / "model").exists()
    loop.run(recipe)
    expected, found = weights(whole[0]), weights(recipe)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    report = json.loads((Path(recipe.output) / "report.json").read_text())
    for stage, facts in whole[1]["stages"].items():
        assert {**facts, "seconds": 0} == {**report["stages"][stage], "seconds": 0}


def die_after(recipe: Recipe, stage: str, steps: int) -> None:
    """Run in a process of its own, which is killed between two steps."""
    step = loop._Training.step

    def dying(training: Any, number: int, *given: Any) -> dict[str, float]:
        means = step(training, number, *given)
        if (training.stage.name, number + 1) == (stage, steps):
            os.kill(os.getpid(), signal.SIGKILL)
        return means

    loop._Training.step = dying
    loop.run(recipe)


@pytest.mark.parametrize("whole", ["qwen2_5_vl", "lora"], indirect=True)
def test_kill_9_in_every_stage(whole: tuple[Recipe, dict], make_recipe: MakeRecipe) -> None:
    """A process killed between two checkpoints, and its successor in the next stage; the third, with another number
    of workers, ends as if nothing had been."""
    recipe = make_recipe(STAGES, model=whole[0].model, checkpoint={"every": 2})
    folder = Path(recipe.output) / "checkpoints"
    left = {("alignment", 3): ["00-00000002"], ("supervised", 3): ["00-00000005", "01-00000002"]}
    for (stage, step), expected in left.items():
        process = multiprocessing.get_context("fork").Process(target=die_after, args=(recipe, stage, step))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
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
    for key in ("recall@1 region", "recall@5 region", "recall@1 token", "recall@5 token", "PCK@0.1 token"):
        assert set(alignment["after"]["baselines"]) == {"same position", "mean colour"}
        assert all(0 <= figures[key] <= 1 for figures in (alignment["before"], alignment["after"]))
    assert supervised["after"]["loss"] < supervised["before"]["loss"]
    assert supervised["after"]["baselines"]["most frequent"]["format right"] == 1.0
    assert yaml.safe_load((Path(recipe.output) / "recipe.yaml").read_text()) == recipe.model_dump(mode="json")
    assert "torch" in json.loads((Path(recipe.output) / "versions.json").read_text())


def test_each_stage_trains_its_part_alone(whole: tuple[Recipe, dict]) -> None:
    recipe, _ = whole
    model = load(recipe.model, (), recipe.seed, Path(recipe.output) / "processor")
    trained = {"alignment": "vision", "supervised": "adapter" if recipe.model.lora else "language"}
    for part, path in zip(trained.values(), checkpoint.finished(Path(recipe.output) / "checkpoints"), strict=True):
        before = {name: value.clone() for name, value in model.model.state_dict().items()}
        checkpoint.restore(path, model.model)
        for name, value in model.model.state_dict().items():
            assert torch.equal(value, before[name]) == (part_of(name) != part), name


def test_plain_transformers_opens_the_model_and_says_the_same(whole: tuple[Recipe, dict]) -> None:
    recipe, _ = whole
    folder = Path(recipe.output) / "model"
    plain = AutoModelForImageTextToText.from_pretrained(folder)
    ours = load(recipe.model, (), recipe.seed, Path(recipe.output) / "processor")
    checkpoint.restore(checkpoint.finished(Path(recipe.output) / "checkpoints")[-1], ours.model)
    stage = Supervised("supervised", recipe.stages["supervised"], recipe, ours.processor)
    shards = Shards(recipe.data.shards, "validation", stage.small)
    pack = stage.batch(shards, stage.items(shards)[:1], 0).pack
    said = stage.replies(ours, prompts(pack))[0]
    adapters.merge(ours.model)
    assert plain.state_dict().keys() == ours.model.state_dict().keys()
    assert all(torch.equal(value, ours.model.state_dict()[name]) for name, value in plain.state_dict().items())
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
    with pytest.raises(
        TrainingError, match=r"the loss of step 1 is nan and its gradient nan; its rows: row-00\d\d, row"
    ):
        loop.run(make_recipe({"supervised": {**STAGES["supervised"], "validation": 0}}))


def test_a_bad_step_is_skipped(make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that jumps after the steps that say what is usual: no update, the rows in the report."""
    plain, seen = Supervised.losses, []

    def losses(stage: Any, model: Any, batch: Any) -> dict[str, torch.Tensor]:
        seen.append(batch.ids)
        return {name: value * (100 if len(seen) == 4 else 1) for name, value in plain(stage, model, batch).items()}

    monkeypatch.setattr(Supervised, "losses", losses)
    monkeypatch.setattr(loop, "RECENT", 3)
    settings = {"steps": 5, "accumulate": 1, "validation": 0, "spike": 10.0, "on_bad_loss": "skip"}
    report = loop.run(make_recipe({"supervised": {**STAGES["supervised"], **settings}}))
    (skipped,) = report["stages"]["supervised"]["skipped"]
    assert skipped["step"] == 4 and skipped["rows"] == seen[3]


def test_out_of_memory_says_what_to_lower(make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def losses(*_: Any) -> dict[str, torch.Tensor]:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Supervised, "losses", losses)
    expected = (
        r"out of memory with up to \d+ tokens and \d+ patches a pack; lower model.max_pixels, "
        r"stages.supervised.tokens, stages.supervised.patches, or set model.gradient_checkpointing=true; its rows: row-"
    )
    with pytest.raises(TrainingError, match=expected):
        loop.run(make_recipe({"supervised": {**STAGES["supervised"], "validation": 0}}))


def test_out_of_memory_in_evaluation_says_what_to_lower(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(*_: Any) -> dict[str, Any]:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Supervised, "evaluate", evaluate)
    with pytest.raises(TrainingError, match=r"evaluated.*lower model\.max_pixels"):
        loop.run(make_recipe({"supervised": STAGES["supervised"]}))


def test_shards_without_held_out_rows_still_train(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    rows.write(tmp_path / "bare", "train", [rows.row(n) for n in range(8)])
    report = loop.run(
        make_recipe(
            {k: {**v, "steps": 1} for k, v in STAGES.items()}, data={"shards": [str(tmp_path / "bare")], "workers": 0}
        )
    )
    assert report["split"] == ["a rule not said"]
    assert report["stages"]["alignment"]["after"] == {}


@pytest.mark.parametrize("stage", ["alignment", "supervised"])
def test_one_pack_of_four_has_the_gradients_of_four_packs_of_one(stage: str, make_recipe: MakeRecipe) -> None:
    recipe = make_recipe(STAGES)
    model = load(recipe.model, loop.learnable_texts(recipe), recipe.seed)
    own = KINDS[recipe.stages[stage].kind](stage, recipe.stages[stage], recipe, model.processor)
    shards = Shards(recipe.data.shards, "train", own.small)
    items = own.items(shards)[:4]
    model.train_only(own.trains)
    found = []
    for packs in ([items], [[item] for item in items]):
        model.model.zero_grad()
        means = loop.backward(own, model, [own.batch(shards, pack, 0) for pack in packs])
        gradient = torch.cat([p.grad.flatten() for p in model.model.parameters() if p.grad is not None])
        found.append((means["loss"], gradient))
    (loss, whole), (same_loss, accumulated) = found
    assert loss == pytest.approx(same_loss, rel=1e-5)
    assert float((whole - accumulated).norm() / whole.norm()) <= 1e-5


def test_alignment_learns(make_recipe: MakeRecipe) -> None:
    stage = {**STAGES["alignment"], "steps": 24, "pairs": 8, "learning_rate": 2e-3, "validation": 6}
    report = loop.run(make_recipe({"alignment": stage}, model=conftest.MODEL | {"max_pixels": 20_000}))
    before, after = (report["stages"]["alignment"][when] for when in ("before", "after"))
    assert after["kl"] < 0.8 * before["kl"]


def test_learning_rate_rises_and_falls() -> None:
    from hatch_train.stages.patch_alignment import AlignmentSettings

    settings = AlignmentSettings(steps=100, learning_rate=1.0, warmup=0.1, final_rate=0.1)
    rates = [loop.learning_rate(step, settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9] == 1.0
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[99] == pytest.approx(0.1, abs=0.01)
