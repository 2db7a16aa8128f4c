"""How long training waits for its data: in a step, and before the first step after a resume.

    python benchmarks/loading.py out/demo/shards --rows 100000 --step 10000 --workers 2

The folder's rows are taken again and again (as links) until there are enough. The stage `supervised` of recipe `tiny`
is trained on them for a while, stopped, and its checkpoint moved on to `--step`; the command is then given again. Times
are those of the clock, so the machine should be doing nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import click
import pyarrow.parquet as pq
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hatch_data.shards import shard_files
from hatch_train import checkpoint
from hatch_train.folder import plan_of
from hatch_train.model import load_processor
from hatch_train.recipe import Recipe, read
from hatch_train.stages import KINDS

ROOT = Path(__file__).resolve().parents[1]


@click.command()
@click.argument("shards", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rows", default=100_000, show_default=True, help="Least rows of the set.")
@click.option("--step", default=10_000, show_default=True, help="Finished steps when the run is resumed.")
@click.option("--workers", default=2, show_default=True, help="Processes that read.")
@click.option("--steps", default=200, show_default=True, help="Steps measured, but for the first ten; more than ten.")
def main(shards: Path, rows: int, step: int, workers: int, steps: int) -> None:
    """Print a table for the folder SHARDS."""
    with tempfile.TemporaryDirectory(prefix="hatch-benchmark-") as scratch:
        folder, output = Path(scratch, "shards"), Path(scratch, "run")
        count = repeat(shards, folder, rows)
        common = [f"--set=data.workers={workers}", f"--set=stages.supervised.steps={2 * step}"]
        common.append("--set=stages.supervised.validation=0")
        few = [*common, f"--set=data.shards=[{shards.resolve()}]", f"--set=output={scratch}/few"]
        keys = [*common, f"--set=data.shards=[{folder}]", f"--set=output={output}"]
        recipe = folder.with_name("recipe.yaml")
        tiny = read("tiny").model_dump(mode="json")
        recipe.write_text(json.dumps(tiny | {"stages": {"supervised": tiny["stages"]["supervised"]}}))

        seconds_to_step(recipe, few, 1)
        few_s = seconds_to_step(recipe, few, 3)
        first_s = seconds_to_step(recipe, keys, 1)
        seconds_to_step(recipe, keys, steps)
        events = EventAccumulator(str(output / "tensorboard"), {"scalars": 0}).Reload()
        waits = [event.value for event in events.Scalars("supervised/data_wait") if event.step > 10]
        move_on(read(recipe, tuple(key.removeprefix("--set=") for key in keys)), step)
        resumed_s = seconds_to_step(recipe, keys, step + 1)
    for name, value in [
        ("start to first step, resumed, the folder alone", f"{few_s:.1f} s"),
        (f"start to first step, {count} rows", f"{first_s:.1f} s"),
        (f"start to first step, resumed at {step}", f"{resumed_s:.1f} s"),
        (f"share of a step spent waiting, {workers} workers", f"{statistics.mean(waits):.1%} of {len(waits)} steps"),
    ]:
        print(f"{name:48s}{value:>24s}")


def repeat(shards: Path, folder: Path, rows: int) -> int:
    """Link the training files of one folder into another until it has that many rows; how many it has."""
    folder.mkdir()
    (folder / "build.json").symlink_to((shards / "build.json").resolve())
    files = [file for file in shard_files(shards) if file.name.startswith("train-")]
    sizes = [pq.ParquetFile(file).metadata.num_rows for file in files]
    times = -(-rows // sum(sizes))
    for number, file in enumerate(files * times):
        (folder / f"train-{number:05d}-of-{len(files) * times:05d}.parquet").symlink_to(file.resolve())
    return sum(sizes) * times


def seconds_to_step(recipe: Path, keys: list[str], step: int) -> float:
    """From the start of the command to the line that tells of this step; the run is then stopped and saves."""
    command = [sys.executable, "-m", "hatch_train.cli", "run", str(recipe), *keys]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    began, lines = time.monotonic(), []
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=quiet, text=True) as run:
        assert run.stderr is not None
        for line in run.stderr:
            lines.append(line)
            if line.startswith(f"supervised {step}/"):
                took_s = time.monotonic() - began
                run.send_signal(signal.SIGTERM)
                run.stderr.read()
                return took_s
    raise click.ClickException("the run ended before its time: " + "".join(lines[-3:]))


def move_on(recipe: Recipe, step: int) -> None:
    """Make the newest checkpoint of a run that of a later step of its only stage."""
    output = Path(recipe.output)
    newest = checkpoint.finished(output / "checkpoints")[-1]
    [(name, settings)] = recipe.stages.items()
    processor = load_processor(recipe.model, (), output / "processor")
    plan = plan_of(KINDS[settings.kind](name, settings, recipe, processor), output / "items")
    *_, last = plan.tickets(0, 0, step * settings.accumulate)
    place = replace(checkpoint.position(newest), step=step, epoch=last.epoch, number=last.number + 1)
    (newest / "position.json").write_text(json.dumps(asdict(place)))
    newest.rename(newest.with_name(f"{place.stage:02d}-{step:08d}"))


if __name__ == "__main__":
    main()
