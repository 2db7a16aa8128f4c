"""One training loop for all stages: evaluate, step, log, checkpoint, resume, evaluate, export."""

from __future__ import annotations

import math
import os
import resource
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch.nn.utils import clip_grad_norm_
from torch.utils.tensorboard import SummaryWriter

from hatch_data.errors import HatchError
from hatch_train import checkpoint, flops, parallel
from hatch_train.checkpoint import Position
from hatch_train.data import Loaded, Plan, Shards, Ticket, batches, held_out
from hatch_train.errors import ModelError, Stopped, TrainingError
from hatch_train.folder import Report, claim, plan_of
from hatch_train.model import VisionLanguageModel, count_parameters, load, load_processor, part_of
from hatch_train.optimisation import backward, counts_of, learning_rate, optimiser, summed
from hatch_train.recipe import Recipe, read
from hatch_train.stages import KINDS, attach_heads, restored
from hatch_train.stages.base import Batch, Stage

#: A model with more parameters than this is not trained on a CPU unless that is asked for.
LARGEST_ON_CPU = 100_000_000
#: Steps whose median loss a spike is measured against.
RECENT = 32


def run(recipe: Recipe) -> dict[str, Any]:
    """Train all stages, from the newest checkpoint if the output folder holds one; the report.

    Raises `Stopped` after a signal, with a checkpoint written; `HatchError` for anything wrong with the input.
    """
    # Workers are forked after the tokenizer has been used; its own threads would not survive that.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    device = _device(recipe)
    output = Path(recipe.output)
    with parallel.joined(device), _enough_memory():
        parallel.by_the_first(lambda: claim(recipe))
        report = Report(recipe)
        model = _open(recipe, device)
        found = checkpoint.finished(output / "checkpoints")
        start = checkpoint.position(found[-1]) if found else Position()
        if found:
            _say(f"continuing from {found[-1]}")
        stages = [KINDS[s.kind](name, s, recipe, model.processor) for name, s in recipe.stages.items()]
        with _signals() as asked, _board(output) as board:
            for number in range(start.stage, len(stages)):
                resumed = bool(found) and number == start.stage
                training = _Training(stages[: number + 1], model, start if resumed else Position(number), board, report)
                training.run(found[-1] if resumed else None, asked)
    if parallel.rank() == 0:
        del model, training  # before the weights are in memory once more
        _export(recipe, checkpoint.finished(output / "checkpoints")[-1], output / "model")
        report.tree["model"] = str(output / "model")
        report.save()
    return report.tree


def _open(recipe: Recipe, device: torch.device) -> VisionLanguageModel:
    """The model on its device; the first process leaves the processor in the output folder for the others."""
    folder = Path(recipe.output) / "processor"

    def saved() -> None:
        load_processor(recipe.model, learnable_texts(recipe), folder).save(folder)

    parallel.by_the_first(saved)
    model = load(recipe.model, (), recipe.seed, folder)
    attach_heads(model, recipe.stages, recipe.seed)
    parallel.shard(model.shell, model.blocks, device)
    return model


def export(source: Path, out: Path) -> None:
    """The weights of a checkpoint as a plain Hugging Face folder. Raises `TrainingError` for another kind of folder."""
    run_folder = source.parent.parent
    if not (run_folder / "recipe.yaml").is_file() or source not in checkpoint.finished(source.parent):
        raise TrainingError(f"{source}: not a checkpoint of a run, such as out/tiny/checkpoints/01-00000200")
    if out.is_dir() and any(out.iterdir()):
        raise TrainingError(f"{out}: not empty; name a new folder")
    _export(read(run_folder / "recipe.yaml"), source, out)


def _export(recipe: Recipe, source: Path, out: Path) -> None:
    restored(recipe, source).save(out, recipe.model.saved_dtype)


@dataclass(frozen=True)
class _Told:
    """What a process tells the others about its share of a step, before anything is computed."""

    ids: list[str]
    counts: dict[str, int]
    tokens: int
    flops: float
    waited_s: float
    error: HatchError | None


class _Training:
    """The last of some stages, those before it being over."""

    def __init__(
        self,
        stages: Sequence[Stage],
        model: VisionLanguageModel,
        position: Position,
        board: SummaryWriter | None,
        report: Report,
    ):
        self.stage, self.model, self.board = stages[-1], model, board
        self.recipe, self.settings = self.stage.recipe, self.stage.settings
        self.mine = _share(self.stage)
        self.plan = plan_of(self.stage, Path(self.recipe.output) / "items")
        if position.plan not in ("", self.plan.fingerprint):
            raise TrainingError(
                f"stage {self.stage.name}: the shards are not those with which this run began (plan {position.plan}, "
                f"now {self.plan.fingerprint}); use another --set output=..."
            )
        self.position = replace(position, plan=self.plan.fingerprint)
        self.report = report.stage(self.stage, self.plan)
        self.save_report = report.save
        model.train_only(self.stage.trains)
        self.flops = flops.Flops(model.model, self.stage.trains)
        self.optimiser = optimiser(model, self.settings)
        self.checkpoints = Path(self.recipe.output) / "checkpoints"
        #: What is no longer as the base model has it.
        self.changed = [n for n, _ in model.model.named_parameters() if any(s.trains(part_of(n)) for s in stages)]

    def run(self, resume: Path | None, asked: list[int]) -> None:
        """Evaluate, train from the position on, evaluate."""
        if resume is not None:
            checkpoint.restore(resume, self.model.model, self.optimiser)
        self.evaluated("before")
        if self.position.step < self.settings.steps:
            self.train(asked)
        self.evaluated("after")

    def evaluated(self, when: str) -> None:
        """The stage's figures in the report, found by the first process where they are missing."""
        if when in self.report:
            return
        with parallel.whole(self.model.shell):
            self.report[when] = parallel.by_the_first(lambda: self.model.shell(self.evaluate))
        if parallel.rank() == 0:
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
        tickets = self.plan.tickets(*place, count)
        dealt = (self.recipe.data.workers, parallel.rank(), parallel.world())
        reader = batches(self.stage.batch, self.plan, *place, count, *dealt)
        started = saved = time.monotonic()
        for step in range(first, settings.steps):
            began = time.monotonic()
            packs = list(islice(tickets, settings.accumulate))
            parts, told = self.read(step, reader)
            terms = self.step(step, parts, told)
            place = (packs[-1].epoch, packs[-1].number + 1)
            self.position = replace(self.position, step=step + 1, epoch=place[0], number=place[1])
            now = time.monotonic()
            left_s = (now - started) / (step + 1 - first) * (settings.steps - step - 1)
            self.log(step + 1, terms, packs, told, now - began, left_s)
            done = step + 1 == settings.steps
            stop = next((number for numbers in parallel.gather(asked) for number in numbers), None)
            if done or stop is not None or (step + 1) % self.recipe.checkpoint.every == 0:
                self.report["seconds"] = round(self.report.get("seconds", 0.0) + now - saved, 1)
                saved = now
                self.save()
            if stop is not None and not done:
                what = f"stopped by {signal.Signals(stop).name} after step {step + 1} of stage {self.stage.name}"
                raise Stopped(f"{what} and saved; run the same command to go on")

    def read(self, step: int, reader: Iterator[Loaded]) -> tuple[list[Batch], list[_Told]]:
        """This process's packs of a step, and what all have to say about theirs. Raises what any of them met."""
        began, error, parts = time.monotonic(), None, []
        waited_s = 0.0
        try:
            batches = [next(reader).batch for _ in range(self.mine)]
            waited_s = time.monotonic() - began
            parts = self.prepared(batches, step)
        except HatchError as found:
            error = found
        told = parallel.gather(
            _Told(
                [row for part in parts for row in part.ids],
                counts_of(parts),
                sum(part.tokens for part in parts),
                sum(self.flops.needed(flops.work(part)) for part in parts) * self.stage.updates,
                waited_s,
                error,
            )
        )
        for one in told:
            if one.error is not None:
                raise one.error
        return parts, told

    def prepared(self, batches: list[Batch], step: int) -> list[Batch]:
        if type(self.stage).prepare is Stage.prepare:
            return batches
        with parallel.whole(self.model.shell):
            return [
                p
                for one in batches
                for p in self.model.shell(lambda one=one: self.stage.prepare(self.model, one, step))
            ]

    def step(self, step: int, parts: list[Batch], told: list[_Told]) -> dict[str, float]:
        """The updates of a step, as a rule one; the mean of each term over all packs at the last."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(step, self.settings)
        totals = {name: sum(one.counts[name] for one in told) for name in told[0].counts}
        means: dict[str, float] = {}
        for _ in range(self.stage.updates):
            try:
                means = summed(parallel.gather(backward(self.stage, self.model, parts, totals)))
                trained = [p for group in self.optimiser.param_groups for p in group["params"]]
                means["gradient"] = float(parallel.plain(clip_grad_norm_(trained, self.settings.clip)))
                if self.sound(step, means, told):
                    self.optimiser.step()
            except torch.OutOfMemoryError:
                self.out_of_memory(parts)
            self.optimiser.zero_grad()
        return means

    def sound(self, step: int, means: dict[str, float], told: list[_Told]) -> bool:
        """Whether to take the step; where the loss is none, or spikes, name the rows, and stop unless told to skip."""
        loss, recent, settings = means["loss"], self.position.recent, self.settings
        finite = math.isfinite(loss) and math.isfinite(means["gradient"])
        spikes = (
            settings.spike is not None and len(recent) == RECENT and loss > settings.spike * statistics.median(recent)
        )
        if finite and not spikes:
            self.position = replace(self.position, recent=(*recent, loss)[-RECENT:])
            return True
        rows = [row for one in told for row in one.ids]
        wrong = f"the loss of step {step + 1} is {loss:.4g} and its gradient {means['gradient']:.4g}"
        if settings.on_bad_loss == "stop":
            raise TrainingError(f"{self.stage.name}: {wrong}; its rows: {', '.join(rows)}")
        _say(f"{self.stage.name}: {wrong}: skipped; its rows: {', '.join(rows)}")
        self.report["skipped"].append({"step": step + 1, "loss": str(loss), "rows": rows})
        return False

    def out_of_memory(self, parts: list[Batch]) -> NoReturn:
        rows = ", ".join(row for part in parts for row in part.ids)
        size = max(part.tokens for part in parts)
        patches = max(sum(t * h * w for t, h, w in flops.work(part).grids) for part in parts)
        sizes = [key for key in ("tokens", "pairs", "patches") if key in type(self.settings).model_fields]
        keys = ", ".join(f"stages.{self.stage.name}.{key}" for key in sizes)
        again = "" if self.recipe.model.gradient_checkpointing else ", or set model.gradient_checkpointing=true"
        lower = f"model.max_pixels, {keys}{again}"
        raise TrainingError(
            f"{self.stage.name}: out of memory with up to {size} tokens and {patches} patches a pack; lower {lower}; "
            f"its rows: {rows}"
        ) from None

    def save(self) -> None:
        """A checkpoint and the report that goes with it."""
        keep = self.recipe.checkpoint.keep
        checkpoint.save(self.checkpoints, self.position, self.model.model, self.changed, self.optimiser, keep)
        if parallel.rank() == 0:
            self.save_report()

    def log(
        self, step: int, terms: dict[str, float], packs: list[Ticket], told: list[_Told], took_s: float, left_s: float
    ) -> None:
        """One line to stderr, the same to TensorBoard."""
        if self.board is None:
            return
        # Processes wait for one another, so the longest wait is that of all.
        wait = max(one.waited_s for one in told) / took_s
        scalars = terms | {
            "learning_rate": learning_rate(step - 1, self.settings),
            "tokens_per_s": sum(one.tokens for one in told) / took_s,
            "tflops_per_s": sum(one.flops for one in told) / took_s / 1e12,
            "data_wait": wait,
            "pack_fill": self.plan.fill([pack.items for pack in packs]),
            "peak_memory_gb": peak_memory_bytes(self.model.device) / 1e9,
        }
        speed = f"{scalars['tokens_per_s']:.0f} tok/s"
        if (peak := flops.peak(self.model.device)) is not None:
            scalars["mfu"] = scalars["tflops_per_s"] * 1e12 / peak / parallel.world()
            speed += f" mfu {scalars['mfu']:.1%}"
        figures = " ".join(f"{name} {value:.3f}" for name, value in terms.items() if name != "gradient")
        place = f"{self.position.epoch}:{self.position.number}"
        _say(
            f"{self.stage.name} {step}/{self.settings.steps} {figures} | {speed} wait {wait:.0%} "
            f"full {scalars['pack_fill']:.0%} {scalars['peak_memory_gb']:.1f} GB "
            f"eta {int(left_s) // 60}:{int(left_s) % 60:02d} at {place}"
        )
        for name, value in scalars.items():
            self.board.add_scalar(f"{self.stage.name}/{name}", value, step)


@contextmanager
def _enough_memory() -> Iterator[None]:
    """Where memory ends elsewhere than in a step, which says what was in it."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise TrainingError(
            "out of memory while the model was loaded, evaluated, or drew replies; lower model.max_pixels, the stage's "
            "prompts or group, or use more GPUs"
        ) from None


def _share(stage: Stage) -> int:
    """How many packs of a step are this process's."""
    packs, processes = stage.settings.accumulate, parallel.world()
    if packs % processes:
        near = -(-packs // processes) * processes
        raise TrainingError(
            f"stage {stage.name}: {packs} packs a step cannot be shared evenly by {processes} processes; "
            f"use --set stages.{stage.name}.accumulate={near}"
        )
    return packs // processes


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
        pairs = (
            f'{{"from": {a["source"] + 1}, "to": {a["target"] + 1}, "actions": {a["json"]}}}' for a in row["actions"]
        )
        yield f"<action>[{', '.join(pairs)}]</action><answer>{row['answer']}</answer>"
    yield from (getattr(stage, "instruction", "") for stage in recipe.stages.values())


def _device(recipe: Recipe) -> torch.device:
    if recipe.device != "cpu" and torch.cuda.is_available():
        if parallel.local_rank() >= (gpus := torch.cuda.device_count()):
            raise ModelError(
                f"process {parallel.local_rank() + 1} of this machine has no GPU, torch sees {gpus}; "
                f"use --set processes={gpus}"
            )
        return torch.device("cuda", parallel.local_rank())
    if recipe.device == "cuda":
        raise ModelError("device is 'cuda', but torch sees no GPU; use --set device=cpu, or a CUDA build of torch")
    total = sum(count_parameters(recipe.model).values())
    if total > LARGEST_ON_CPU:
        what = f"{recipe.model.name} has {total / 1e9:.1f} billion parameters and torch sees no GPU"
        if recipe.device == "auto":
            raise ModelError(f"{what}; train on one, try recipes/tiny.yaml, or force it with --set device=cpu")
        _say(f"warning: {what}: a step takes minutes and memory is {16 * total / 1e9:.0f} GB or more")
    return torch.device("cpu")


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


@contextmanager
def _board(output: Path) -> Iterator[SummaryWriter | None]:
    """TensorBoard's files, written by the first process."""
    if parallel.rank():
        yield None
        return
    with SummaryWriter(str(output / "tensorboard")) as board:
        yield board


def _say(line: str) -> None:
    if parallel.rank() == 0:
        print(line, file=sys.stderr, flush=True)
