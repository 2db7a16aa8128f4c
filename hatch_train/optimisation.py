"""A step: the gradients of its packs, the optimiser, the learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from hatch_train import parallel
from hatch_train.model import VisionLanguageModel
from hatch_train.stages.base import Batch, Stage


def counts_of(parts: Sequence[Batch]) -> dict[str, int]:
    return {name: sum(part.counts[name] for part in parts) for name in (parts[0].counts if parts else ())}


def summed(each: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(one[name] for one in each) for name in each[0]}


def backward(
    stage: Stage, model: VisionLanguageModel, parts: Sequence[Batch], totals: dict[str, int] | None = None
) -> dict[str, float]:
    """Add the gradients of packs; their part of the loss and of the mean of each term.

    `totals` are the counts of the whole step, over all processes; without, the packs are all of it.
    """
    totals = totals or counts_of(parts)
    means: dict[str, Tensor] = {}
    for part in parts:
        # Divided by the number in the whole step, so that packs of different size weigh what they hold.
        sums = model.shell(lambda part=part: stage.losses(model, part))
        shares = {name: value / max(totals[name], 1) for name, value in sums.items()}
        loss = torch.stack([weight * shares[name] for name, weight in stage.weights.items()]).sum()
        # FSDP2 averages over the processes what is to be summed.
        (loss * parallel.world()).backward()
        for name, value in {"loss": loss, **shares}.items():
            means[name] = means.get(name, 0.0) + value.detach()
    # Read once: each time a GPU would be waited for, and stand idle until it is told what comes next.
    return dict(zip(means, torch.stack(list(means.values())).tolist(), strict=True))


def optimiser(model: VisionLanguageModel, settings: Any) -> AdamW:
    """AdamW over what is trained; biases and norms do not decay."""
    trained = [p for p in model.model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = model.device.type == "cuda"
    return AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=fused)


def learning_rate(step: int, settings: Any) -> float:
    """Linear warmup, then a cosine to `final_rate` of the peak; a function of the step alone."""
    warmup = max(1, round(settings.warmup * settings.steps))
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, settings.steps - warmup)
    fall = (1 + math.cos(math.pi * progress)) / 2
    return settings.learning_rate * (settings.final_rate + (1 - settings.final_rate) * fall)
