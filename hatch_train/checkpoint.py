"""Checkpoints of a run: complete or absent, the newest few kept, each with its place in the data.

The format is torch's distributed checkpoint, which another number of processes can read.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.optim import Optimizer

from hatch_train import parallel
from hatch_train.errors import TrainingError

_POSITION = "position.json"


@dataclass(frozen=True)
class Position:
    """How far a run is: the number of the stage, its finished steps, and the next pack of the plan named `plan`; and
    its last losses, against which a spike is measured."""

    stage: int = 0
    step: int = 0
    epoch: int = 0
    number: int = 0
    plan: str = ""
    recent: tuple[float, ...] = ()


def save(
    folder: Path, position: Position, model: nn.Module, changed: Collection[str], optimiser: Optimizer, keep: int
) -> None:
    """Write a checkpoint under a temporary name, rename it, and remove all but the newest `keep`.

    It holds the optimiser's state and the weights named in `changed`: those that no longer are the base model's. All
    processes take part, in one folder.
    """
    final = folder / f"{position.stage:02d}-{position.step:08d}"
    partial = folder / f".{final.name}.partial"

    def begin() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*.partial"):
            shutil.rmtree(leftover)

    def finish() -> None:
        (partial / _POSITION).write_text(json.dumps(asdict(position)), encoding="utf-8")
        _sync(partial / _POSITION)
        _sync(partial)
        if final.exists():
            shutil.rmtree(final)
        partial.replace(final)
        _sync(folder)
        for old in finished(folder)[:-keep]:
            shutil.rmtree(old)

    parallel.by_the_first(begin)
    with quietly():
        state = {"model": weights(model, changed), "optimiser": get_optimizer_state_dict(model, optimiser)}
        dcp.save(state, checkpoint_id=partial, process_group=parallel.words())
    parallel.by_the_first(finish)


def finished(folder: Path) -> list[Path]:
    """Complete checkpoints of a run, the oldest first."""
    return sorted(path.parent for path in folder.glob(f"[0-9]*/{_POSITION}"))


def position(checkpoint: Path) -> Position:
    """Where a checkpoint was taken. Raises `TrainingError` where it cannot be read."""
    try:
        tree = json.loads((checkpoint / _POSITION).read_text(encoding="utf-8"))
        return Position(**{**tree, "recent": tuple(tree.get("recent", ()))})
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(f"{checkpoint}: not a readable checkpoint ({error}); delete it to go on without") from None


def restore(checkpoint: Path, model: nn.Module, optimiser: Optimizer | None = None) -> None:
    """Load the weights that a checkpoint has, and the optimiser's state, in place; another number of processes may
    have written it. Raises `TrainingError` for a damaged checkpoint and for one of another model."""
    try:
        with quietly():
            held = dcp.FileSystemReader(checkpoint).read_metadata().state_dict_metadata
            named = {key.removeprefix("model."): found for key, found in held.items() if key.startswith("model.")}
            _compare(checkpoint, model, named)
            state: dict[str, Any] = {"model": weights(model, named)}
            if optimiser is not None:
                state["optimiser"] = get_optimizer_state_dict(model, optimiser)
            dcp.load(state, checkpoint_id=checkpoint, process_group=parallel.words())
            if optimiser is not None:
                set_optimizer_state_dict(model, optimiser, state["optimiser"])
    except (dcp.CheckpointException, RuntimeError, ValueError, KeyError, OSError, EOFError, UnpicklingError) as error:
        reason = " ".join(str(error).split())[-200:] or type(error).__name__
        raise TrainingError(
            f"{checkpoint}: cannot be restored ({reason}); delete it to go on from the one before"
        ) from None


def weights(model: nn.Module, names: Collection[str]) -> dict[str, Tensor]:
    """The weights of these names, in place."""
    return {name: parameter.detach() for name, parameter in model.named_parameters() if name in names}


def _compare(checkpoint: Path, model: nn.Module, held: Mapping[str, Any]) -> None:
    own = {name: parameter.shape for name, parameter in model.named_parameters()}
    for name, found in held.items():
        if own.get(name) != found.size:
            has = f"{tuple(own[name])} in this one" if name in own else "none in this one"
            what = f"its {name} is {tuple(found.size)}, {has}"
            raise TrainingError(f"{checkpoint}: of another model ({what}); use another --set output=...")


@contextmanager
def quietly() -> Iterator[None]:
    """Without the warning that a single process is one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is", UserWarning)
        yield


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
