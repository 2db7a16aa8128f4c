"""Checkpoints of a run: complete or absent, the newest few kept, each with its place in the data.

The format is torch's distributed checkpoint, which another number of processes can read.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import Optimizer

from hatch_train.errors import TrainingError

_POSITION = "position.json"


@dataclass(frozen=True)
class Position:
    """How far a run is: the number of the stage, its finished steps, and the next pack of the plan named `plan`."""

    stage: int = 0
    step: int = 0
    epoch: int = 0
    number: int = 0
    plan: str = ""


def save(folder: Path, position: Position, model: nn.Module, optimiser: Optimizer, keep: int) -> None:
    """Write a checkpoint under a temporary name, rename it, and remove all but the newest `keep`."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"{position.stage:02d}-{position.step:08d}"
    partial = folder / f".{final.name}.partial"
    for leftover in folder.glob(".*.partial"):
        shutil.rmtree(leftover)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        dcp.save(_state(model, optimiser), checkpoint_id=partial)
    (partial / _POSITION).write_text(json.dumps(asdict(position)), encoding="utf-8")
    _sync(partial / _POSITION)
    _sync(partial)
    if final.exists():
        shutil.rmtree(final)
    partial.replace(final)
    _sync(folder)
    for old in finished(folder)[:-keep]:
        shutil.rmtree(old)


def finished(folder: Path) -> list[Path]:
    """Complete checkpoints of a run, the oldest first."""
    return sorted(path.parent for path in folder.glob(f"[0-9]*/{_POSITION}"))


def position(checkpoint: Path) -> Position:
    """Where a checkpoint was taken. Raises `TrainingError` where it cannot be read."""
    try:
        return Position(**json.loads((checkpoint / _POSITION).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(f"{checkpoint}: not a readable checkpoint ({error}); delete it to go on without") from None


def restore(checkpoint: Path, model: nn.Module, optimiser: Optimizer | None = None) -> None:
    """Load weights, and the optimiser's state, in place. Raises `TrainingError` for a checkpoint of another model."""
    state = _state(model, optimiser)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
            dcp.load(state, checkpoint_id=checkpoint)
    except (dcp.CheckpointException, RuntimeError, ValueError, KeyError, OSError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise TrainingError(f"{checkpoint}: does not fit this model ({reason}); use another output folder") from None
    set_model_state_dict(model, state["model"])
    if optimiser is not None:
        set_optimizer_state_dict(model, optimiser, state["optimiser"])


def _state(model: nn.Module, optimiser: Optimizer | None) -> dict[str, Any]:
    state: dict[str, Any] = {"model": get_model_state_dict(model)}
    if optimiser is not None:
        state["optimiser"] = get_optimizer_state_dict(model, optimiser)
    return state


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
