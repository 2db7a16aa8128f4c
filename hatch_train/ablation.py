"""What each objective brings: arms times seeds through the one training loop, judged on held-out scenes.

An arm is a sequence of stages. Every stage of an arm is a run of its own that starts from the model the run before it
exported, in `OUT/seed-S/STAGE+STAGE...`; arms that begin alike share those runs, and all arms of a seed start from the
same weights, `OUT/seed-S/base`. What is finished is kept: the same command goes on after a stop.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import model_validator

from hatch_data.errors import HatchError
from hatch_data.settings import Settings, load, resolve
from hatch_data.shards import write_text
from hatch_train import loop
from hatch_train.ablation_report import write_report
from hatch_train.errors import Stopped, TrainingError
from hatch_train.evaluation import generation
from hatch_train.evaluation import run as evaluation
from hatch_train.evaluation.answers import cut
from hatch_train.folder import claim
from hatch_train.model import load as load_model
from hatch_train.model import load_processor
from hatch_train.readout import ReadoutSettings, read_out
from hatch_train.recipe import Recipe
from hatch_train.recipe import read as read_run
from hatch_train.settings import Positive
from hatch_train.stages import KINDS

SIDES = ("left", "right")


class ArmSettings(Settings):
    """The stages of an arm, by name and in order; none leaves the model as it is. `prompt` is how its model is asked:
    `action` where it has learnt to write actions before the answer."""

    stages: tuple[str, ...] = ()
    prompt: Literal["plain", "action"] = "plain"


class QuestionSettings(Settings):
    """Each arm's model answers at most `limit` held-out questions of the shard folder `data`."""

    data: str
    benchmark: Literal["held_out", "held_out_validation", "held_out_test"] = "held_out_test"
    limit: Positive | None = None
    batch: Positive = 16
    max_new_tokens: Positive = 256


class Ablation(Recipe):
    """A run's recipe in which `stages` are what the arms are made of. `seeds` are `seed` and those after it;
    `processes` are trained side by side. Every arm is compared with each arm in `against`. The arms' models are judged
    by a `readout` of their vision towers, by `questions`, or by both."""

    seeds: Positive = 3
    arms: dict[str, ArmSettings]
    against: tuple[str, ...]
    readout: ReadoutSettings | None = None
    questions: QuestionSettings | None = None

    @model_validator(mode="after")
    def _names_what_there_is(self) -> Ablation:
        for name, arm in self.arms.items():
            if unknown := [stage for stage in arm.stages if stage not in self.stages]:
                raise ValueError(f"arm '{name}' has no stage '{unknown[0]}'; known: {', '.join(self.stages)}")
        if unknown := [name for name in self.against if name not in self.arms]:
            raise ValueError(f"against: no arm is called '{unknown[0]}'; known: {', '.join(self.arms)}")
        if self.readout is None and self.questions is None:
            raise ValueError("nothing judges the arms: set readout or questions")
        return self

    @property
    def seed_numbers(self) -> list[int]:
        return [self.seed + k for k in range(self.seeds)]

    def of_seed(self, seed: int) -> Path:
        """The folder of a seed's runs."""
        return Path(self.output) / f"seed-{seed}"

    def link(self, seed: int, stages: tuple[str, ...], model: str) -> Recipe:
        """The run of the last of some stages, from the model that those before it left."""
        return Recipe(
            output=str(self.of_seed(seed) / "+".join(stages)),
            seed=seed,
            processes=1,
            device=self.device,
            model=self.model.model_copy(update={"name": model}),
            data=self.data,
            stages={stages[-1]: self.stages[stages[-1]]},
            checkpoint=self.checkpoint,
        )


def read(name: str | Path, overrides: tuple[str, ...] = ()) -> Ablation:
    """The recipe by path, or by name among those in `recipes/ablation`."""
    return load(Ablation, resolve(name, "ablation"), overrides)


def run(ablation: Ablation) -> dict[str, Any]:
    """Train and judge what is not yet there; the report, also in the output folder as Markdown, JSON and pictures.

    Raises `Stopped` after a signal, what is finished being kept.
    """
    output = Path(ablation.output)
    output.mkdir(parents=True, exist_ok=True)
    seeds = ablation.seed_numbers
    processes = min(ablation.processes or 1, len(seeds))
    if processes == 1:
        for seed in seeds:
            run_seed(ablation, seed)
    else:
        _side_by_side(ablation, [seeds[k::processes] for k in range(processes)])
    results = {seed: _results(ablation, seed) for seed in seeds}
    return write_report(ablation, results, _runs(ablation))


def run_seed(ablation: Ablation, seed: int) -> None:
    """All arms of a seed, and what they are worth."""
    base = _base(ablation, seed)
    models = {}
    for name, arm in ablation.arms.items():
        models[name] = base
        for count in range(1, len(arm.stages) + 1):
            models[name] = _trained(ablation.link(seed, arm.stages[:count], models[name]))
    if ablation.questions is not None:
        for name, model in models.items():
            _kept(ablation, seed, f"questions-{name}", partial(_asked, ablation, seed, name, model))
    if ablation.readout is not None:
        _kept(ablation, seed, "readout", partial(_read_out, ablation, seed, models))


def _base(ablation: Ablation, seed: int) -> str:
    """The model with which all arms begin: a name or folder as it is, a tiny one drawn once for the seed."""
    if ablation.model.name != "tiny":
        return ablation.model.name
    folder = ablation.of_seed(seed) / "base"
    if not folder.is_dir():
        partial = folder.with_name(".base.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        # With the words of all stages: arms that had tokenizers of their own would not be comparable.
        texts = loop.learnable_texts(ablation)
        load_model(ablation.model, texts, seed).save(partial, "float32")
        for file in partial.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        partial.rename(folder)
    return str(folder)


def _trained(link: Recipe) -> str:
    """The folder of the model that a run leaves; trained unless it is there."""
    model = Path(link.output) / "model"
    if not _is_finished(Path(link.output)):
        loop.run(link)
    else:
        claim(link)
    return str(model)


def _is_finished(folder: Path) -> bool:
    report = folder / "report.json"
    return report.is_file() and "model" in json.loads(report.read_text(encoding="utf-8"))


def _kept(ablation: Ablation, seed: int, name: str, find: Callable[[], dict[str, Any]]) -> None:
    """A result in the seed's folder, found unless it is there for the same settings."""
    path = ablation.of_seed(seed) / f"{name}.json"
    tree = ablation.model_dump(mode="json")
    settings = {key: tree[key] for key in ("model", "data", "stages", "arms", "readout", "questions")}
    settings["data"] = {key: settings["data"][key] for key in ("shards", "augment")}
    if path.is_file() and json.loads(path.read_text(encoding="utf-8"))["settings"] == settings:
        return
    _say(f"seed {seed}: {name.replace('-', ': ', 1)}")
    write_text(path, json.dumps({"settings": settings, "arms": find()}))


def _runs(ablation: Ablation) -> list[dict[str, Any]]:
    """Every run of every seed: its stages, the arms that it is part of, what it was trained on, its loss by step."""
    found = []
    chains = {arm.stages[:count] for arm in ablation.arms.values() for count in range(1, len(arm.stages) + 1)}
    for stages in sorted(chains, key=lambda chain: (len(chain), chain)):
        folders = {seed: ablation.of_seed(seed) / "+".join(stages) for seed in ablation.seed_numbers}
        found.append(
            {
                "stages": stages,
                "arms": [name for name, arm in ablation.arms.items() if arm.stages[: len(stages)] == stages],
                **consumed(folders[ablation.seed]),
                "curves": {seed: learning_curve(folder, stages[-1]) for seed, folder in folders.items()},
                "before and after": {seed: _figures(folder, stages[-1]) for seed, folder in folders.items()},
            }
        )
    return found


def learning_curve(folder: Path, stage: str) -> list[tuple[int, float]]:
    """(step, loss) of a run, or its reward where it earns one, as logged; of a step that was taken twice, the last."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    board.Reload()
    names = [f"{stage}/{term}" for term in ("reward", "loss")]
    logged: list[Any] = next((board.Scalars(name) for name in names if name in board.Tags()["scalars"]), [])
    return sorted({event.step: event.value for event in logged}.items())


def _figures(folder: Path, stage: str) -> dict[str, dict[str, float]]:
    """The run's own held-out figures before and after, those that are single numbers."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))["stages"][stage]
    return {
        when: {name: value for name, value in report.get(when, {}).items() if isinstance(value, int | float)}
        for when in ("before", "after")
    }


def _results(ablation: Ablation, seed: int) -> dict[str, dict[str, Any]]:
    """Arm -> what was found about it, by kind: `readout`, `questions`."""
    found: dict[str, dict[str, Any]] = {name: {} for name in ablation.arms}
    for name in ablation.arms:
        for kind in ("readout", f"questions-{name}"):
            path = ablation.of_seed(seed) / f"{kind}.json"
            if path.is_file():
                arms = json.loads(path.read_text(encoding="utf-8"))["arms"]
                if name in arms:
                    found[name][kind.partition("-")[0]] = arms[name]
    return found


def _read_out(ablation: Ablation, seed: int, models: dict[str, str]) -> dict[str, Any]:
    assert ablation.readout is not None
    towers = {name: generation.open_model(folder, ablation.model.max_pixels) for name, folder in models.items()}
    return read_out(towers, ablation.model_copy(update={"seed": seed}), ablation.readout)


def _asked(ablation: Ablation, seed: int, name: str, model: str) -> dict[str, Any]:
    """The scores of an arm's replies, by task, with its matching beside them."""
    questions = ablation.questions
    assert questions is not None
    folder = ablation.of_seed(seed) / f"replies-{name}"
    request = evaluation.Request(
        model,
        questions.benchmark,
        Path(questions.data),
        folder,
        questions.limit,
        ablation.arms[name].prompt,
        questions.batch,
        max_new_tokens=questions.max_new_tokens,
        max_pixels=ablation.model.max_pixels,
    )
    report = evaluation.evaluate(request)
    lines = (folder / evaluation.REPLIES).read_text(encoding="utf-8").splitlines()
    replies = {row["id"]: row for row in map(json.loads, lines)}
    scores: dict[str, dict[str, float]] = {"answers": {}, "left or right": {}}
    for one in report["scores"]:
        scores["answers"][one["id"]] = one["repaired"]
        scores.setdefault(one["category"], {})[one["id"]] = one["repaired"]
        side = _side(replies[one["id"]]["answer"])
        if side:
            scores["left or right"][one["id"]] = float(_side(cut(replies[one["id"]]["text"])) == side)
    counts = {c: f["count"] for c, f in report["categories"].items()}
    chance = {c: f["constant"] for c, f in report["categories"].items()}
    sides = [_side(replies[id]["answer"]) for id in scores["left or right"]]
    chance |= {
        "answers": sum(chance[c] * n for c, n in counts.items()) / sum(counts.values()),
        "left or right": max((sides.count(side) for side in SIDES), default=0) / max(len(sides), 1),
    }
    matching = report["probes"].get("patch matching by overlap", {}).values()
    patches = sum(bin["patches"] for bin in matching)
    figures = {"replies with an answer": 1 - report["without_answer_tag"] / report["samples"]}
    if patches:
        figures["token match recall@1"] = sum(bin["recall@1"] * bin["patches"] for bin in matching) / patches
    found = {
        "scores": {measure: own for measure, own in scores.items() if own},
        "figures": figures,
        "groups": {one["id"]: one["group"] for one in report["scores"]},
        "truth": {one["id"]: replies[one["id"]]["answer"] for one in report["scores"]},
        "said": {one["id"]: cut(replies[one["id"]]["text"]) for one in report["scores"]},
        "judged by": "answers",
        "chance": chance,
        "curves": {},
    }
    return {name: found}


def _side(text: str) -> str | None:
    """The one side that a text names."""
    named = [side for side in SIDES if side in text.casefold()]
    return named[0] if len(named) == 1 else None


def consumed(folder: Path) -> dict[str, int]:
    """Samples and tokens that a run was trained on, by its plan; replies that it drew, at their longest."""
    recipe = read_run(folder / "recipe.yaml")
    ((name, settings),) = recipe.stages.items()
    processor = load_processor(recipe.model, (), folder / "processor")
    plan = loop.plan_of(KINDS[settings.kind](name, settings, recipe, processor), folder / "items")
    items = [i for ticket in plan.tickets(0, 0, settings.steps * settings.accumulate) for i in ticket.items]
    copies = getattr(settings, "group", 1)
    return {"samples": len(items) * copies, "tokens": int(plan.tokens[items].sum()) * copies}


# Seeds side by side


def _side_by_side(ablation: Ablation, shares: list[list[int]]) -> None:
    """A process for each share of the seeds; a signal stops all of them, each after its step."""
    context = multiprocessing.get_context("spawn")
    failures = context.SimpleQueue()
    threads = max(1, torch.get_num_threads() // len(shares))
    children = [context.Process(target=_seeds, args=(ablation, share, threads, failures)) for share in shares]
    wanted = (signal.SIGTERM, signal.SIGINT)
    old = {number: signal.signal(number, lambda got, _frame: _stop(children)) for number in wanted}
    try:
        for child in children:
            child.start()
        for child in children:
            child.join()
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    if not failures.empty():
        stopped, line = failures.get()
        raise Stopped(line) if stopped else TrainingError(line)
    if any(child.exitcode for child in children):
        codes = ", ".join(str(child.exitcode) for child in children)
        raise TrainingError(
            f"a process of the ablation ended early (exit codes {codes}); run the same command to go on"
        )


def _stop(children: list[Any]) -> None:
    for child in children:
        if child.pid is not None:
            child.terminate()


def _seeds(ablation: Ablation, seeds: list[int], threads: int, failures: Any) -> None:
    torch.set_num_threads(threads)
    try:
        for seed in seeds:
            run_seed(ablation, seed)
    except HatchError as error:
        failures.put((isinstance(error, Stopped), f"seed {seed}: {error}"))
        sys.exit(1)
    except KeyboardInterrupt:
        failures.put((True, "stopped; run the same command to go on"))
        os._exit(1)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
