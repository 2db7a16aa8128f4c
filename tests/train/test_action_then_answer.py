"""Reinforcement: its formulas, its draws, and that a kill in the middle of it changes nothing."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hatch_train import checkpoint, loop
from hatch_train.data import Shards
from hatch_train.errors import TrainingError
from hatch_train.folder import report_text
from hatch_train.model import VisionLanguageModel, load
from hatch_train.recipe import Recipe
from hatch_train.rewards import Rewards
from hatch_train.rollouts import Reference, log_probabilities, seed_of, until
from hatch_train.stages.action_then_answer import (
    ActionThenAnswer,
    RewardWeights,
    divergence,
    group_advantages,
    policy_loss,
)
from hatch_train.stages.supervised import Chats
from tests.train import conftest
from tests.train.conftest import MODEL, MakeRecipe

STAGE = {
    "steps": 4,
    "tokens": 400,
    "prompts": 2,
    "group": 3,
    "updates": 2,
    "kl": 0.5,
    "learning_rate": 3e-3,
    "max_new_tokens": 8,
    "validation": 3,
    "replies": 3,
}
STAGES: dict[str, Any] = {
    "cold": {"kind": "supervised", "steps": 2, "tokens": 500, "learning_rate": 3e-3, "validation": 0},
    "action_then_answer": STAGE,
}


def stage_of(make_recipe: MakeRecipe, model: VisionLanguageModel, **settings: Any) -> ActionThenAnswer:
    recipe = make_recipe({"action_then_answer": {**STAGE, **settings}})
    return ActionThenAnswer("action_then_answer", recipe.stages["action_then_answer"], recipe, model.processor)


def batch_of(stage: ActionThenAnswer, count: int = 2) -> Chats:
    shards = Shards(stage.recipe.data.shards, "train", stage.small)
    return stage.batch(shards, stage.items(shards)[:count], 0)


def fresh(stage: ActionThenAnswer) -> VisionLanguageModel:
    model = load(stage.recipe.model, loop.learnable_texts(stage.recipe), 0)
    model.train_only(stage.trains)
    return model


def test_advantages_are_normalised_within_a_group() -> None:
    advantages, flat = group_advantages(np.array([[0.0, 1.0, 2.0], [0.7, 0.7, 0.7]]))
    assert advantages[0] == pytest.approx([-np.sqrt(1.5), 0, np.sqrt(1.5)])
    assert advantages[1].tolist() == [0, 0, 0] and flat.tolist() == [False, True]


def test_the_objective_against_loops() -> None:
    rng = np.random.default_rng(0)
    new, old, advantages = rng.normal(0, 0.4, 50), rng.normal(0, 0.4, 50), rng.normal(size=50)
    total, clipped = 0.0, 0
    for n, o, a in zip(new, old, advantages, strict=True):
        ratio = np.exp(n - o)
        free, bound = ratio * a, min(max(ratio, 0.8), 1.2) * a
        total -= min(free, bound)
        clipped += bound < free
    loss, count = policy_loss(*map(torch.tensor, (new, old, advantages)), 0.2)
    assert float(loss) == pytest.approx(total) and int(count) == clipped > 0
    inputs = torch.tensor(new, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: policy_loss(x, *map(torch.tensor, (old, advantages)), 0.2)[0], inputs)
    assert torch.autograd.gradcheck(lambda x: divergence(x, torch.tensor(old)), inputs)


def test_the_divergence_estimates_kl() -> None:
    new, reference = torch.randn(2, 7, generator=torch.Generator().manual_seed(0)).log_softmax(1)
    drawn = torch.multinomial(new.exp(), 200_000, replacement=True, generator=torch.Generator().manual_seed(1))
    truth = float((new.exp() * (new - reference)).sum())
    assert float(divergence(new[drawn], reference[drawn])) / len(drawn) == pytest.approx(truth, rel=0.03)
    assert float(divergence(new, new)) == 0


def test_rewards_are_weighed() -> None:
    weights = RewardWeights(action=2, answer=1, format=0.5)
    assert weights.total(Rewards(0.5, 1.0, 1.0)) == 2.5
    assert weights.total(Rewards(None, 0.0, 1.0)) == 0.5


def test_what_follows_the_end_is_padding() -> None:
    assert until([5, 6, 2, 0, 0], 2) == [5, 6, 2] and until([5, 6], 2) == [5, 6]


def test_draws_depend_on_seed_step_and_rows_alone(make_recipe: MakeRecipe, tiny: VisionLanguageModel) -> None:
    stage = stage_of(make_recipe, tiny, kl=0)
    batch = batch_of(stage)
    torch.manual_seed(5)
    first = stage.draw(tiny, batch, seed_of(0, "a", 3, batch.ids))
    before = torch.get_rng_state()
    assert stage.draw(tiny, batch, seed_of(0, "a", 3, batch.ids)) == first
    assert torch.equal(before, torch.get_rng_state())
    assert stage.draw(tiny, batch, seed_of(0, "a", 4, batch.ids)) != first
    assert len(first) == 2 and all(len(replies) == 3 for replies in first)
    assert all(1 <= len(tokens) <= 8 for replies in first for tokens in replies)
    assert len({tuple(tokens) for tokens in first[0]}) > 1
    image = tiny.processor.token_id("<|image_pad|>")
    assert image not in {token for replies in first for tokens in replies for token in tokens}


def test_parts_fit_the_caps_and_begin_at_a_ratio_of_one(make_recipe: MakeRecipe, tiny: VisionLanguageModel) -> None:
    stage = stage_of(make_recipe, tiny)
    model, batch = fresh(stage), batch_of(stage)
    parts = stage.prepare(model, batch, 0)
    assert len(parts) == 3
    for part in parts:
        assert part.ids == batch.ids and part.tokens <= stage.settings.tokens
        assert len(part.old) == len(part.advantages) == int(part.pack.supervised.sum()) == part.counts["policy"]
        assert torch.equal(part.old, part.reference)
        sums = stage.losses(model, part)
        assert set(sums) <= set(part.counts)
        assert sums["policy"].item() == pytest.approx(-float(part.advantages.sum()), abs=1e-4)
        assert sums["kl"].item() == pytest.approx(0, abs=1e-6) and int(sums["clipped"]) == 0
    together = np.stack([[p.rewards[name] for p in parts] for name in ("reward", "length")])
    assert together.shape == (2, 3) and (together[1] >= 2).all()


def test_a_single_update_need_not_ask_the_policy_that_drew(make_recipe: MakeRecipe, tiny: VisionLanguageModel) -> None:
    stage = stage_of(make_recipe, tiny, kl=0, updates=1)
    model, batch = fresh(stage), batch_of(stage)
    part = stage.prepare(model, batch, 0)[0]
    assert part.old is None
    part = replace(part, advantages=torch.randn(part.advantages.shape, generator=torch.Generator().manual_seed(0)))
    asked = replace(part, old=log_probabilities(model, part.pack, stage.settings.temperature).detach())
    gradients = []
    for one in (part, asked):
        model.model.zero_grad()
        stage.losses(model, one)["policy"].backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.model.parameters() if p.grad is not None]))
    assert gradients[0].norm() > 0 and torch.equal(*gradients)


def test_a_better_reply_becomes_likelier(
    make_recipe: MakeRecipe, tiny: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reward is the share of small letters in what is drawn; after a few updates the model says more of them."""
    stage = stage_of(make_recipe, tiny, group=6, kl=0, max_new_tokens=8)
    model, batch = fresh(stage), batch_of(stage)
    module = "hatch_train.stages.action_then_answer.judge"
    monkeypatch.setattr(
        module, lambda text, _wanted: Rewards(None, sum(map(str.islower, text)) / max(len(text), 1), 0.0)
    )
    optimiser = torch.optim.Adam([p for p in model.model.parameters() if p.requires_grad], 1e-2)
    earned = []
    for step in range(9):
        parts = stage.prepare(model, batch, step)
        totals = loop.counts_of(parts)
        earned.append(sum(part.rewards["answer"] for part in parts) / totals["answer"])
        for _ in range(stage.updates):
            optimiser.zero_grad()
            loop.backward(stage, model, parts, totals)
            optimiser.step()
    assert np.mean(earned[-2:]) > np.mean(earned[:2]) + 0.15


def test_the_reference_changes_places_and_survives(make_recipe: MakeRecipe, tiny: VisionLanguageModel) -> None:
    stage = stage_of(make_recipe, tiny)
    model, folder = fresh(stage), Path(stage.recipe.output) / "references" / "x"
    began = {name: p.detach().clone() for name, p in model.model.named_parameters()}
    Reference(model, stage.trains, folder, fresh=True)
    with torch.no_grad():
        for parameter in model.model.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)
    moved = {name: p.detach().clone() for name, p in model.model.named_parameters()}
    reference = Reference(model, stage.trains, folder, fresh=False)
    with reference.in_place():
        assert all(torch.equal(p, began[name]) for name, p in model.model.named_parameters())
    assert all(torch.equal(p, moved[name]) for name, p in model.model.named_parameters())
    shutil.rmtree(folder)
    with pytest.raises(TrainingError, match="references/x: the weights with which the stage began are missing"):
        Reference(model, stage.trains, folder, fresh=False)


def weights(recipe: Recipe) -> dict[str, torch.Tensor]:
    return load_file(Path(recipe.output) / "model" / "model.safetensors")


def die_after(recipe: Recipe, steps: int) -> None:
    """Run in a process of its own, which is killed between two steps of the last stage."""
    step = loop._Training.step

    def dying(training: Any, number: int, *given: Any) -> dict[str, float]:
        means = step(training, number, *given)
        if (training.stage.name, number + 1) == ("action_then_answer", steps):
            os.kill(os.getpid(), signal.SIGKILL)
        return means

    loop._Training.step = dying
    loop.run(recipe)


def test_kill_9_and_go_on_bit_for_bit(make_recipe: MakeRecipe, shards: Path, tmp_path: Path) -> None:
    """Adapters, killed before the first checkpoint of the stage, and after one; other workers at the end."""
    model = {**MODEL, "lora": {"rank": 4, "alpha": 8}}
    whole = conftest.make_recipe.__wrapped__(shards, tmp_path / "whole")(STAGES, model=model)
    report = loop.run(whole)
    stage = report["stages"]["action_then_answer"]
    assert stage["after"]["rows"]["id"] == stage["before"]["rows"]["id"] and len(stage["after"]["rows"]["id"]) == 3
    assert "rows, paired" in report_text(report)
    recipe = make_recipe(STAGES, model=model, checkpoint={"every": 2})
    for steps, newest in ((1, "00-00000002"), (3, "01-00000002")):
        process = multiprocessing.get_context("fork").Process(target=die_after, args=(recipe, steps))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert checkpoint.finished(Path(recipe.output) / "checkpoints")[-1].name == newest
    again = loop.run(recipe.model_copy(update={"data": recipe.data.model_copy(update={"workers": 1})}))
    assert weights(whole).keys() == weights(recipe).keys()
    assert all(torch.equal(weights(whole)[name], value) for name, value in weights(recipe).items())
    assert again["stages"]["action_then_answer"]["after"] == stage["after"]
