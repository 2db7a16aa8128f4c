"""A step of every stage on a GPU that is pretended: devices, dtypes, and what makes it wait for the CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hatch_train.data import Loaded, Shards
from hatch_train.loop import learnable_texts
from hatch_train.model import load
from hatch_train.rollouts import Reference
from hatch_train.stages import KINDS, attach_heads
from tests.train.conftest import MakeRecipe, model_of
from tests.train.pretend import gpu

COMMON = {"steps": 1, "learning_rate": 1e-3}
TERM = {"regions": 2, "token_weight": 0.5, "unmatched": True, "hard_negatives": 2, "projection": 8}
CHAT = {"tokens": 800, "replies": 2, "max_new_tokens": 4}
STAGES: dict[str, dict[str, Any]] = {
    "alignment": {"kind": "patch_alignment", "pairs": 2, **TERM, **COMMON},
    "block": {
        "kind": "patch_alignment",
        "pairs": 2,
        "layer": 0,
        "token_weight": 1.0,
        "token_loss": "info_nce",
        **COMMON,
    },
    "supervised": {"train_vision": True, "alignment": TERM, **CHAT, **COMMON},
    "action_then_answer": {"prompts": 2, "group": 2, "updates": 2, **CHAT, **COMMON},
}


# On one GPU weights are fp32, where several share them those that a step gathers are bf16.
@pytest.mark.parametrize(
    ("family", "lora", "weights"),
    [("qwen2_5_vl", None, torch.bfloat16), ("qwen3_vl", {"rank": 4}, torch.float32)],
)
def test_every_stage_stays_on_the_gpu(
    make_recipe: MakeRecipe, family: str, lora: Any, weights: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Files are written by threads that are not told of the pretence.
    monkeypatch.setattr(Reference, "_save", lambda *given: None)
    recipe = make_recipe(STAGES, model={**model_of(family), "lora": lora})
    model = load(recipe.model, learnable_texts(recipe), 0)
    attach_heads(model, recipe.stages, 0)
    stages = [KINDS[settings.kind](name, settings, recipe, model.processor) for name, settings in recipe.stages.items()]
    shards = [Shards(recipe.data.shards, "train", stage.small) for stage in stages]
    batches = [stage.batch(own, stage.items(own)[:2], 0) for stage, own in zip(stages, shards, strict=True)]
    with torch.no_grad():
        expected = float(stages[2].losses(model, batches[2])["text"])
    model.round(weights)
    with gpu(model.model) as waited:
        # In bf16, and by another kernel.
        assert float(stages[2].losses(model, batches[2])["text"]) == pytest.approx(expected, rel=0.01)
        for stage, batch in zip(stages, batches, strict=True):
            for part in stage.prepare(model, batch, 0):
                waited.clear()
                sums = stage.losses(model, part)
                assert {value.device.type for value in sums.values()} == {"cuda"}
                assert all(sums[name].dtype == torch.float32 and sums[name].isfinite() for name in stage.weights)
                assert not [line for line in waited if "/hatch_train/" in line], stage.name
            assert stage.evaluate(model, iter([Loaded(None, batch)]))
