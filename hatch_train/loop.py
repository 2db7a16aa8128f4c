"""One training loop for all stages: evaluate, step, log, checkpoint, resume, evaluate, export."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from torch.utils.tensorboard import SummaryWriter

from hatch_data.errors import SettingsError
from hatch_data.settings import to_yaml
from hatch_data.shards import write_text
from hatch_train import checkpoint
from hatch_train.checkpoint import Position
from hatch_train.data import Loaded, Plan, Shards, batches, held_out, manifests
from hatch_train.errors import ModelError, Stopped, TrainingError
from hatch_train.model import VisionLanguageModel, count_parameters, load
from hatch_train.recipe import Recipe, first_difference, read
from hatch_train.stages import kinds
from hatch_train.stages.base import Batch, Stage

#: A model with more parameters than this is not trained on a CPU unless that is asked for.
LARGEST_ON_CPU = 100_000_000
_PACKAGES = ("hatch-spatial", "torch", "transformers", "peft", "tokenizers", "numpy", "pyarrow", "pillow")


def run(recipe: Recipe) -> dict[str, Any]:
    """Train all stages, from the newest checkpoint if the output folder holds one; the report.

    Raises `Stopped` after a signal, with a checkpoint written; `HatchError` for anything wrong with the input.
    """
    # Workers are forked after the tokenizer has been used; its own threads would not survive that.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    device = _device(recipe)
    output = Path(recipe.output)
    _claim(output, recipe)
    found = checkpoint.finished(output / "checkpoints")
    model = load(recipe.model, learnable_texts(recipe), recipe.seed, output / "processor")
    model.processor.save(output / "processor")
    model.model.to(device)
    start = Position()
    if found:
        start = checkpoint.position(found[-1])
        _say(f"continuing from {found[-1]}")
        checkpoint.restore(found[-1], model.model)
    report = _Report(output / "report.json")
    report.tree["split"] = splits(recipe)
    report.tree["from"] = "a random model" if recipe.model.name == "tiny" else recipe.model.name
    with _signals() as asked, SummaryWriter(str(output / "tensorboard")) as board:
        for number, (name, settings) in enumerate(recipe.stages.items()):
            if number < start.stage:
                continue
            stage = kinds()[settings.kind](name, settings, recipe, model.processor)
            at = start if number == start.stage else Position(number)
            resume = found[-1] if found and number == start.stage else None
            _Training(recipe, stage, model, at, board, report).run(resume, asked)
    model.save(output / "model", recipe.model.saved_dtype)
    report.tree["model"] = str(output / "model")
    report.save()
    return report.tree


def export(source: Path, out: Path) -> None:
    """The weights of a checkpoint as a plain Hugging Face folder. Raises `TrainingError` for another kind of folder."""
    run_folder = source.parent.parent
    if not (run_folder / "recipe.yaml").is_file() or source not in checkpoint.finished(source.parent):
        raise TrainingError(f"{source}: not a checkpoint of a run, such as out/tiny/checkpoints/01-00000200")
    if out.is_dir() and any(out.iterdir()):
        raise TrainingError(f"{out}: not empty; name a new folder")
    recipe = read(run_folder / "recipe.yaml")
    model = load(recipe.model, (), recipe.seed, run_folder / "processor")
    checkpoint.restore(source, model.model)
    model.save(out, recipe.model.saved_dtype)


class _Training:
    """One stage of a run."""

    def __init__(
        self,
        recipe: Recipe,
        stage: Stage,
        model: VisionLanguageModel,
        position: Position,
        board: SummaryWriter,
        report: _Report,
    ):
        self.recipe, self.stage, self.model, self.board = recipe, stage, model, board
        self.settings = stage.settings
        shards = Shards(recipe.data.shards, "train", stage.small)
        self.plan = Plan(shards, stage.items(shards), stage.caps, recipe.seed)
        if not self.plan.items:
            raise TrainingError(f"stage {stage.name}: nothing to train on in {', '.join(recipe.data.shards)}")
        if position.plan not in ("", self.plan.fingerprint):
            raise TrainingError(
                f"stage {stage.name}: the shards are not those with which this run began (plan {position.plan}, now "
                f"{self.plan.fingerprint}); use another --set output=..."
            )
        self.position = replace(position, plan=self.plan.fingerprint)
        self.report = report.stage(stage, self.plan)
        self.save_report = report.save
        model.train_only(stage.trains)
        self.optimiser = optimiser(model, self.settings)
        self.checkpoints = Path(recipe.output) / "checkpoints"

    def run(self, resume: Path | None, asked: list[int]) -> None:
        """Evaluate, train from the position on, evaluate."""
        if resume is not None:
            checkpoint.restore(resume, self.model.model, self.optimiser)
        if "before" not in self.report:
            self.report["before"] = self.evaluate()
            self.save_report()
        if self.position.step < self.settings.steps:
            self.train(asked)
        if "after" not in self.report:
            self.report["after"] = self.evaluate()
            self.save_report()

    def evaluate(self) -> dict[str, Any]:
        """The stage's figures on held-out items, jittered as in training but always in the same way."""
        shards = Shards(self.recipe.data.shards, "validation", self.stage.small)
        items = held_out(self.stage.items(shards), self.settings.validation)
        plan = Plan(shards, items, self.stage.caps, self.recipe.seed, shuffle=False)
        _say(f"{self.stage.name}: evaluating on {len(plan.items)} held-out items")
        self.model.model.eval()
        loaded = batches(self.stage.batch, plan, 0, 0, len(plan.epoch(0)), self.recipe.data.workers)
        return self.stage.evaluate(self.model, loaded)

    def train(self, asked: list[int]) -> None:
        """Take the remaining steps of the stage, with log lines and checkpoints; a signal in `asked` ends it early."""
        self.model.model.train()
        settings, first = self.settings, self.position.step
        count = (settings.steps - first) * settings.accumulate
        place = (self.position.epoch, self.position.number)
        reader = batches(self.stage.batch, self.plan, *place, count, self.recipe.data.workers)
        started = saved = time.monotonic()
        for step in range(first, settings.steps):
            began = time.monotonic()
            loaded = [next(reader) for _ in range(settings.accumulate)]
            waited = time.monotonic() - began
            terms = self.step(step, loaded)
            last = loaded[-1].ticket
            self.position = replace(self.position, step=step + 1, epoch=last.epoch, number=last.number + 1)
            now = time.monotonic()
            left_s = (now - started) / (step + 1 - first) * (settings.steps - step - 1)
            self.log(step + 1, terms, loaded, waited, now - began, left_s)
            done = step + 1 == settings.steps
            if done or asked or (step + 1) % self.recipe.checkpoint.every == 0:
                keep = self.recipe.checkpoint.keep
                checkpoint.save(self.checkpoints, self.position, self.model.model, self.optimiser, keep)
                self.report["seconds"] = round(self.report.get("seconds", 0.0) + now - saved, 1)
                self.save_report()
                saved = now
            if asked and not done:
                what = f"stopped by {signal.Signals(asked[0]).name} after step {step + 1} of stage {self.stage.name}"
                raise Stopped(f"{what} and saved; run the same command to go on")

    def step(self, step: int, loaded: list[Loaded]) -> dict[str, float]:
        """One update from one or more packs; the mean of each term over all of them."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(step, self.settings)
        means = backward(self.stage, self.model, [part.batch for part in loaded])
        if not math.isfinite(means["loss"]):
            ids = ", ".join(row for part in loaded for row in part.batch.ids)
            raise TrainingError(f"{self.stage.name}: the loss of step {step + 1} is {means['loss']}; its rows: {ids}")
        trained = [p for group in self.optimiser.param_groups for p in group["params"]]
        means["gradient"] = float(clip_grad_norm_(trained, self.settings.clip))
        self.optimiser.step()
        self.optimiser.zero_grad()
        return means

    def log(
        self, step: int, terms: dict[str, float], loaded: list[Loaded], waited_s: float, took_s: float, left_s: float
    ) -> None:
        """One line to stderr, the same to TensorBoard."""
        tokens_per_s, wait = sum(part.batch.tokens for part in loaded) / took_s, waited_s / took_s
        full = self.plan.fill([part.ticket.items for part in loaded])
        memory_gb = peak_memory_bytes(self.model.device) / 1e9
        figures = " ".join(f"{name} {value:.3f}" for name, value in terms.items() if name != "gradient")
        place = f"{self.position.epoch}:{self.position.number}"
        _say(
            f"{self.stage.name} {step}/{self.settings.steps} {figures} | {tokens_per_s:.0f} tok/s wait {wait:.0%} "
            f"full {full:.0%} {memory_gb:.1f} GB eta {int(left_s) // 60}:{int(left_s) % 60:02d} at {place}"
        )
        scalars = terms | {
            "learning_rate": learning_rate(step - 1, self.settings),
            "tokens_per_s": tokens_per_s,
            "data_wait": wait,
            "pack_fill": full,
            "peak_memory_gb": memory_gb,
        }
        for name, value in scalars.items():
            self.board.add_scalar(f"{self.stage.name}/{name}", value, step)


def backward(stage: Stage, model: VisionLanguageModel, parts: Sequence[Batch]) -> dict[str, float]:
    """Add the gradients of a step's packs; the loss and the mean of each term over all of them."""
    totals = {name: sum(part.counts[name] for part in parts) for name in parts[0].counts}
    means: dict[str, float] = dict.fromkeys(("loss", *stage.weights), 0.0)
    for part in parts:
        # Divided by the number in the whole step, so that packs of different size weigh what they hold.
        shares = {name: value / max(totals[name], 1) for name, value in stage.losses(model, part).items()}
        loss = torch.stack([weight * shares[name] for name, weight in stage.weights.items()]).sum()
        loss.backward()
        for name, value in {"loss": loss, **shares}.items():
            means[name] = means.get(name, 0.0) + float(value.detach())
    return means


def optimiser(model: VisionLanguageModel, settings: Any) -> AdamW:
    """AdamW over what is trained; biases and norms do not decay."""
    trained = [p for p in model.model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=settings.learning_rate, betas=settings.betas)


def learning_rate(step: int, settings: Any) -> float:
    """Linear warmup, then a cosine to `final_rate` of the peak; a function of the step alone."""
    warmup = max(1, round(settings.warmup * settings.steps))
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, settings.steps - warmup)
    fall = (1 + math.cos(math.pi * progress)) / 2
    return settings.learning_rate * (settings.final_rate + (1 - settings.final_rate) * fall)


def peak_memory_bytes(device: torch.device) -> int:
    """Most memory this process has held: of the GPU where it trains on one, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def learnable_texts(recipe: Recipe) -> Iterator[str]:
    """The texts of the training rows, from which the tokenizer of a tiny model is learnt."""
    for row in Shards(recipe.data.shards, "train", ("messages", "answer", "actions")).rows:
        yield from (turn["content"] for turn in row["messages"])
        for label in row["actions"]:
            yield f'<action>[{{"from": 1, "to": 2, "actions": {label["json"]}}}, {{"from": 1</action>'
        yield f"<answer>{row['answer']}</answer>"
    yield from (getattr(stage, "instruction", "") for stage in recipe.stages.values())


def splits(recipe: Recipe) -> list[str]:
    """How each shard folder's held-out rows were set apart, as its build says."""
    return [str(tree.get("split", {}).get("by", "a rule not said")) for tree in manifests(recipe.data.shards)]


class _Report:
    """`report.json`, written after each evaluation and read back on resume."""

    def __init__(self, path: Path):
        self.path = path
        self.tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"stages": {}}

    def stage(self, stage: Stage, plan: Plan) -> dict[str, Any]:
        packs = plan.epoch(0)
        facts = {
            "kind": stage.settings.kind,
            "steps": stage.settings.steps,
            "items": len(plan.items),
            "dropped": plan.dropped,
            "packs": len(packs),
            "fill": round(plan.fill(packs), 4),
        }
        return self.tree["stages"].setdefault(stage.name, facts)

    def save(self) -> None:
        write_text(self.path, json.dumps(self.tree, indent=2))


def _device(recipe: Recipe) -> torch.device:
    if recipe.device != "cpu" and torch.cuda.is_available():
        return torch.device("cuda", 0)
    if recipe.device == "cuda":
        raise ModelError("device is 'cuda', but torch sees no GPU; use --set device=cpu, or a CUDA build of torch")
    total = sum(count_parameters(recipe.model).values())
    if total > LARGEST_ON_CPU:
        what = f"{recipe.model.name} has {total / 1e9:.1f} billion parameters and torch sees no GPU"
        if recipe.device == "auto":
            raise ModelError(f"{what}; train on one, try recipes/tiny.yaml, or force it with --set device=cpu")
        _say(f"warning: {what}: a step takes minutes and memory is {16 * total / 1e9:.0f} GB or more")
    return torch.device("cpu")


def _claim(output: Path, recipe: Recipe) -> None:
    """Make the output folder this recipe's, or raise `SettingsError` where it is another's."""
    path = output / "recipe.yaml"
    if path.is_file():
        old = yaml.safe_load(path.read_text(encoding="utf-8"))
        if (difference := first_difference(old, recipe.model_dump(mode="json"))) is not None:
            raise SettingsError(f"{output}: holds a run of another recipe ({difference}); use another --set output=...")
        return
    if output.is_dir() and any(output.iterdir()):
        raise SettingsError(f"{output}: not empty and not a run of hatch-train; use another --set output=...")
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / "versions.json", json.dumps({name: _version(name) for name in _PACKAGES}, indent=2))
    write_text(path, to_yaml(recipe))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@contextmanager
def _signals() -> Iterator[list[int]]:
    """SIGTERM and SIGINT are noted in the list that is given; the loop saves and stops after its step."""
    asked: list[int] = []
    wanted = (signal.SIGTERM, signal.SIGINT)
    old = {number: signal.signal(number, lambda got, _frame: asked.append(got)) for number in wanted}
    try:
        yield asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
