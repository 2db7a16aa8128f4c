"""Two processes on a CPU train as one does: gradients, curves, checkpoints, the order of the samples, errors."""

from __future__ import annotations

import faulthandler
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hatch_data.errors import HatchError, ShardError
from hatch_train import checkpoint, loop, parallel
from hatch_train.data import Shards
from hatch_train.errors import ModelError, Stopped, TrainingError
from hatch_train.model import load
from hatch_train.recipe import Recipe
from hatch_train.shapes import FAMILIES
from hatch_train.stages import KINDS
from tests.train import conftest, rows
from tests.train.conftest import MakeRecipe, model_of

COMMON = {"learning_rate": 3e-3, "validation": 2, "accumulate": 2}
STAGES: dict[str, dict[str, Any]] = {
    "alignment": {"kind": "patch_alignment", "steps": 3, "pairs": 2, **COMMON},
    "supervised": {"steps": 3, "tokens": 320, "replies": 2, "max_new_tokens": 4, **COMMON},
}


def together(count: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `work(*arguments)` returns or raises in each of so many processes, as torchrun would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def one(rank: int) -> None:
        # Processes that wait for each other say where, and end.
        faulthandler.dump_traceback_later(120, exit=True)
        where = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
        os.environ.update({key: str(value) for key, value in where.items()}, MASTER_ADDR="127.0.0.1")
        try:
            queue.put((rank, work(*arguments)))
        except HatchError as error:
            queue.put((rank, error))

    processes = [context.Process(target=one, args=(rank,)) for rank in range(count)]
    for process in processes:
        process.start()
    said: dict[int, Any] = {}
    while any(process.is_alive() for process in processes) or not queue.empty():
        if not queue.empty():
            said.update([queue.get()])
        time.sleep(0.01)
    return [said.get(rank, process.exitcode) for rank, process in enumerate(processes)]


def gradients(recipe: Recipe, name: str) -> tuple[float, np.ndarray]:
    """Loss and gradient of four items: this process's, in packs of one, of the first stage of that name."""
    with parallel.joined(torch.device("cpu")):
        model = load(recipe.model, loop.learnable_texts(recipe), recipe.seed)
        parallel.shard(model.shell, model.blocks, torch.device("cpu"))
        stage = KINDS[recipe.stages[name].kind](name, recipe.stages[name], recipe, model.processor)
        shards = Shards(recipe.data.shards, "train", stage.small)
        packs = [[item] for item in stage.items(shards)[:4]]
        mine = [stage.batch(shards, pack, 0) for pack in packs[parallel.rank() :: parallel.world()]]
        counts = parallel.gather(loop.counts_of(mine))
        totals = {key: sum(one[key] for one in counts) for key in counts[0]}
        model.model.train()
        model.train_only(stage.trains)
        # Whole, as for an evaluation, between two steps: what is gathered then must not disturb the next.
        with parallel.whole(model.shell):
            model.shell(lambda: stage.losses(model, mine[0]))
        means = loop.summed(parallel.gather(loop.backward(stage, model, mine, totals)))
        found = [parallel.plain(p.grad).flatten() for p in model.model.parameters() if p.grad is not None]
    return means["loss"], torch.cat(found).numpy()


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("family", FAMILIES)
def test_two_processes_have_the_gradients_of_one(family: str, name: str, make_recipe: MakeRecipe) -> None:
    """The second family with activation checkpointing, the first with adapters."""
    more = {"gradient_checkpointing": True} if family == "qwen3_vl" else {"lora": {"rank": 4, "alpha": 8}}
    recipe = make_recipe(STAGES, model=model_of(family) | more)
    (alone,), both = together(1, gradients, recipe, name), together(2, gradients, recipe, name)
    for loss, gradient in both:
        assert loss == pytest.approx(alone[0], rel=1e-5)
        assert np.linalg.norm(gradient - alone[1]) <= 1e-5 * np.linalg.norm(alone[1])


def curve(recipe: Recipe) -> dict[str, list[float]]:
    """The loss of each step of each stage, as TensorBoard has it; of steps taken twice the last."""
    found: dict[str, dict[int, float]] = {}
    for file in sorted((Path(recipe.output) / "tensorboard").iterdir(), key=lambda path: path.stat().st_mtime_ns):
        events = EventAccumulator(str(file)).Reload()
        for name in recipe.stages:
            if f"{name}/loss" in events.Tags()["scalars"]:
                found.setdefault(name, {}).update({e.step: e.value for e in events.Scalars(f"{name}/loss")})
    return {name: [values[step] for step in sorted(values)] for name, values in found.items()}


def stopped_after(recipe: Recipe, steps: int) -> str:
    """A run that the first process is told to stop after so many steps; what it says."""
    step, done = loop._Training.step, []

    def counted(training: Any, *given: Any) -> dict[str, float]:
        means = step(training, *given)
        done.append(means)
        if len(done) == steps and parallel.rank() == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return means

    loop._Training.step = counted
    try:
        loop.run(recipe)
    except Stopped as stop:
        return str(stop)
    finally:
        loop._Training.step = step
    return "not stopped"


def test_a_run_goes_on_with_two_processes_and_back_with_one(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    """One process, two from the third step on, one again from the fifth: the curve of one process throughout."""
    whole = make_recipe(STAGES, output=str(tmp_path / "whole"))
    loop.run(whole)
    recipe = make_recipe(STAGES)
    assert "after step 2 of stage alignment" in stopped_after(recipe, 2)
    said = together(2, stopped_after, recipe, 2)
    assert said.count(1) == 1  # of two that stop, one says so
    assert any(isinstance(one, str) and "step 1 of stage supervised" in one for one in said)
    loop.run(recipe)
    expected, found = curve(whole), curve(recipe)
    assert [len(values) for values in found.values()] == [3, 3]
    for name in STAGES:
        assert found[name] == pytest.approx(expected[name], abs=1e-4)
    first, second = (load_file(Path(r.output) / "model" / "model.safetensors") for r in (whole, recipe))
    assert first.keys() == second.keys()
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 1e-3


def test_packs_that_cannot_be_shared(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe({"alignment": {**STAGES["alignment"], "accumulate": 3}})
    said = together(2, loop.run, recipe)
    assert said.count(2) == 1  # the exit code of the one that is silent
    (error,) = [one for one in said if isinstance(one, TrainingError)]
    assert "3 packs a step cannot be shared evenly by 2 processes; use --set stages.alignment.accumulate=4" in str(
        error
    )


def test_what_one_process_meets_stops_all(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    rows.write(
        tmp_path / "bad", "train", [rows.with_broken_image(rows.row(n)) if n == 5 else rows.row(n) for n in range(8)]
    )
    stage = {**STAGES["supervised"], "validation": 0, "accumulate": 2}
    recipe = make_recipe({"supervised": stage}, data={"shards": [str(tmp_path / "bad")], "workers": 0})
    said = together(2, loop.run, recipe)
    assert said.count(2) == 1
    (error,) = [one for one in said if isinstance(one, ShardError)]
    assert "row row-0005: image 2 of 2 cannot be used" in str(error)


def test_the_command_starts_the_processes(shards: Path, tmp_path: Path) -> None:
    """The whole way of a user: one command, two processes, one log; stopped, it has saved, and exits with 1."""
    path, output = tmp_path / "recipe.yaml", tmp_path / "run"
    stage = {**STAGES["alignment"], "steps": 10_000, "validation": 0}
    tree = {"output": str(output), "device": "cpu", "processes": 2, "model": conftest.MODEL}
    path.write_text(
        yaml.safe_dump({**tree, "data": {"shards": [str(shards)], "workers": 0}, "stages": {"alignment": stage}})
    )
    command = [sys.executable, "-m", "hatch_train.cli", "run", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None and process.stdout is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("alignment 3/"):
                process.send_signal(signal.SIGTERM)
        assert process.wait() == 1 and process.stdout.read() == ""
    steps = [line.split()[1] for line in lines if " tok/s " in line]
    assert steps == [f"{n}/10000" for n in range(1, len(steps) + 1)]
    assert lines[-1].startswith(f"error: stopped by SIGTERM after step {len(steps)} of stage alignment and saved")
    assert sum("error" in line or "Traceback" in line for line in lines) == 1
    (saved,) = checkpoint.finished(output / "checkpoints")
    assert json.loads((saved / "position.json").read_text())["step"] == len(steps)


def fail_while_the_other_waits() -> None:
    with parallel.joined(torch.device("cpu")):
        if parallel.rank() == 0:
            raise TrainingError("out of memory")
        time.sleep(60)


def test_no_process_waits_for_one_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where what is waited for does not end with the process that was to send it."""
    monkeypatch.setattr(parallel, "ASK_S", 0.1)
    monkeypatch.setattr(parallel, "NOTICE_S", 0.1)
    failed, other = together(2, fail_while_the_other_waits)
    assert isinstance(failed, TrainingError) and other == 2


def test_srun_does_not_start_a_run_for_each_of_its_tasks(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(STAGES)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    with pytest.raises(TrainingError, match="started this command 8 times"):
        parallel.to_start(recipe)
    monkeypatch.setenv("RANK", "0")
    assert parallel.to_start(recipe) == 1


def test_more_processes_than_gpus_are_refused(make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ModelError, match="process 3 of this machine has no GPU, torch sees 2"):
        loop.run(make_recipe(STAGES, device="auto"))
