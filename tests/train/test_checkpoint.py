"""What a checkpoint holds, and which it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.optim import AdamW
from torch.optim.optimizer import Optimizer

from hatch_train import checkpoint
from hatch_train.checkpoint import Position
from hatch_train.errors import TrainingError
from hatch_train.model import VisionLanguageModel, load, part_of
from hatch_train.settings import ModelSettings
from tests.train.conftest import MODEL, SIZES


def with_adapters() -> VisionLanguageModel:
    return load(ModelSettings(**{**MODEL, "lora": {"rank": 2, "alpha": 4}}), ["a text"], seed=0)


def changed(model: VisionLanguageModel) -> list[str]:
    return [name for name, _ in model.model.named_parameters() if part_of(name) == "adapter"]


def stepped(model: VisionLanguageModel) -> Optimizer:
    """An optimiser of the adapters that has taken a step."""
    model.train_only(lambda part: part == "adapter")
    optimiser = AdamW([p for p in model.model.parameters() if p.requires_grad])
    for parameter in model.model.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    optimiser.step()
    return optimiser


def test_adapters_alone_are_stored_and_come_back(tmp_path: Path) -> None:
    model = with_adapters()
    optimiser = stepped(model)
    position = Position(1, 7, 2, 3, "plan", (0.1, 1 / 3))
    for step in range(3):
        at = Position(1, step) if step < 2 else position
        checkpoint.save(tmp_path, at, model.model, changed(model), optimiser, keep=2)
    assert [path.name for path in checkpoint.finished(tmp_path)] == ["01-00000001", "01-00000007"]
    (_, last) = checkpoint.finished(tmp_path)
    assert checkpoint.position(last) == position
    stored = sum(file.stat().st_size for file in last.iterdir())
    base = sum(p.numel() for n, p in model.model.named_parameters() if part_of(n) != "adapter")
    assert stored < 4 * base
    again = with_adapters()
    own = stepped(again)
    with torch.no_grad():
        for parameter in again.model.parameters():
            if parameter.requires_grad:
                parameter.zero_()
    checkpoint.restore(last, again.model, own)
    for (name, first), second in zip(model.model.named_parameters(), again.model.parameters(), strict=True):
        assert torch.equal(first, second), name
    states = zip(optimiser.state.values(), own.state.values(), strict=True)
    assert all(torch.equal(a[key], b[key]) for a, b in states for key in a)


@pytest.mark.parametrize("spoil", ["another model", "no such weight", "damaged", "cut off"])
def test_what_cannot_be_restored_is_one_line(spoil: str, tmp_path: Path) -> None:
    model = with_adapters()
    checkpoint.save(tmp_path, Position(), model.model, changed(model), stepped(model), keep=1)
    (saved,) = checkpoint.finished(tmp_path)
    message = "cannot be restored"
    if spoil == "another model":
        other = {**MODEL, "tiny": {**SIZES, "text_width": 64}, "lora": {"rank": 2, "alpha": 4}}
        model, message = load(ModelSettings(**other), ["a text"], seed=0), r"of another model .its model.*in this one"
    elif spoil == "no such weight":
        model, message = load(ModelSettings(**MODEL), ["a text"], seed=0), "of another model .*none in this one"
    elif spoil == "damaged":
        (saved / ".metadata").write_bytes(b"nothing")
    else:
        for file in saved.glob("*.distcp"):
            file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(TrainingError, match=message) as caught:
        checkpoint.restore(saved, model.model)
    assert "\n" not in str(caught.value)
