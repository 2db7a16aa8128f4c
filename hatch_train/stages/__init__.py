"""The stages of training: each says what it trains, how it reads a row, and what its loss is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hatch_train import checkpoint
from hatch_train.model import VisionLanguageModel, load
from hatch_train.settings import StageSettings
from hatch_train.stages.action_then_answer import ActionThenAnswer
from hatch_train.stages.base import HEADS, Stage
from hatch_train.stages.patch_alignment import PatchAlignment
from hatch_train.stages.supervised import Supervised

KINDS: dict[str, type[Stage]] = {
    "patch_alignment": PatchAlignment,
    "supervised": Supervised,
    "action_then_answer": ActionThenAnswer,
}


def attach_heads(model: VisionLanguageModel, stages: Mapping[str, StageSettings], seed: int) -> None:
    """Put what the stages learn beside the model at `HEADS` of it, where checkpoints find it; an export is without."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        vision = model.model.config.vision_config
        found = {name: KINDS[stage.kind].heads(stage, vision) for name, stage in stages.items()}
    if heads := {name: head for name, head in found.items() if len(head)}:
        setattr(model.model, HEADS, nn.ModuleDict(heads))


def restored(recipe: Any, source: Path) -> VisionLanguageModel:
    """The model of a run as its checkpoint has it, on the CPU, without what stands beside it."""
    model = load(recipe.model, (), recipe.seed, source.parent.parent / "processor")
    attach_heads(model, recipe.stages, recipe.seed)
    checkpoint.restore(source, model.model)
    if hasattr(model.model, HEADS):
        delattr(model.model, HEADS)
    return model
