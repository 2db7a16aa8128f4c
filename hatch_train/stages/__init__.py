"""The stages of training: each says what it trains, how it reads a row, and what its loss is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hatch_train.model import VisionLanguageModel
    from hatch_train.recipe import Recipe
    from hatch_train.stages.base import Stage


def kinds() -> dict[str, type[Stage]]:
    """Kind -> stage."""
    from hatch_train.stages.action_then_answer import ActionThenAnswer
    from hatch_train.stages.patch_alignment import PatchAlignment
    from hatch_train.stages.supervised import Supervised

    return {"patch_alignment": PatchAlignment, "supervised": Supervised, "action_then_answer": ActionThenAnswer}


def attach_heads(model: VisionLanguageModel, recipe: Recipe) -> None:
    """Put what the stages learn beside the model at `HEADS` of it, where checkpoints find it; an export is without."""
    import torch
    from torch import nn

    from hatch_train.stages.base import HEADS

    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        vision = model.model.config.vision_config
        found = {name: kinds()[stage.kind].heads(stage, vision) for name, stage in recipe.stages.items()}
    if heads := {name: head for name, head in found.items() if len(head)}:
        setattr(model.model, HEADS, nn.ModuleDict(heads))
