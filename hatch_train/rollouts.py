"""Replies drawn from the model as it is, for a policy gradient; and the weights from which it must not stray."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor

from hatch_train import parallel
from hatch_train.checkpoint import quietly
from hatch_train.errors import TrainingError
from hatch_train.model import VisionLanguageModel, part_of
from hatch_train.packing import Pack, token_losses


def seed_of(*facts: object) -> int:
    """A seed that depends on all of the facts and on nothing else."""
    return int.from_bytes(hashlib.sha256(json.dumps(facts).encode()).digest()[:7])


def until(tokens: list[int], end: int) -> list[int]:
    """The tokens up to the one that ends a reply and with it: what follows is padding."""
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens


def log_probabilities(model: VisionLanguageModel, packed: Pack, temperature: float) -> Tensor:
    """(n,) fp32 log-probability of each supervised token, as it is drawn at this temperature."""
    return -token_losses(model, packed, temperature)


class Reference:
    """The trained weights as they were when the stage began, in a folder of the run, so that they outlive it.

    They change places with the model's own while they are asked: one copy of what is trained, which for adapters is
    little, and no second model.
    """

    def __init__(self, model: VisionLanguageModel, trains: Callable[[str], bool], folder: Path, fresh: bool):
        self._model = model.model
        named = model.model.named_parameters()
        self._kept = {name: p.detach().clone() for name, p in named if trains(part_of(name))}
        if fresh:
            self._save(folder)
        else:
            self._restore(folder)

    def _save(self, folder: Path) -> None:
        partial = folder.with_name(f".{folder.name}.partial")
        parallel.by_the_first(lambda: shutil.rmtree(partial, ignore_errors=True))
        with quietly():
            dcp.save(dict(self._kept), checkpoint_id=partial, process_group=parallel.words())

        def finish() -> None:
            shutil.rmtree(folder, ignore_errors=True)
            partial.replace(folder)

        parallel.by_the_first(finish)

    def _restore(self, folder: Path) -> None:
        try:
            with quietly():
                dcp.load(dict(self._kept), checkpoint_id=folder, process_group=parallel.words())
        except (dcp.CheckpointException, RuntimeError, ValueError, KeyError, OSError):
            raise TrainingError(
                f"{folder}: the weights with which the stage began are missing or damaged, so it cannot go on; use "
                "another --set output=..."
            ) from None

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model is the reference while this lasts."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        # Asked by name each time: a sharded model holds other tensors while its weights are whole.
        for name, parameter in self._model.named_parameters():
            if name in self._kept:
                own = parameter.clone()
                parameter.copy_(self._kept[name])
                self._kept[name].copy_(own)
