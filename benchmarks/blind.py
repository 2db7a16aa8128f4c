"""What can be guessed from text alone, family by family, on as many questions as it takes to be sure.

    python benchmarks/blind.py --scenes 200 --workers 2

Every family is put as a multiple choice to groups of views of synthetic scenes, without building rows; the guesser of
`hatch-data audit` learns on every second scene and is tried on the others. Prints a table.
"""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
from tqdm import tqdm

from hatch_data.asking import Asker
from hatch_data.audit import guess_choices
from hatch_data.covisibility import covisibility, summarise
from hatch_data.group import SceneViews
from hatch_data.questions import FAMILIES
from hatch_data.recipe import DataRecipe, PairSettings
from hatch_data.sampling import grow_groups, select_pairs
from hatch_data.scans import synthetic
from hatch_data.views import ViewStore, prepare

Asked = dict[str, list[dict[str, Any]]]


@click.command()
@click.option("--scenes", default=200, show_default=True, help="Half to learn on, half to try.")
@click.option("--frames", default=60, show_default=True, help="Frames of a scene.")
@click.option("--groups", default=4.0, show_default=True, help="Groups of views for each frame.")
@click.option("--workers", default=2, show_default=True)
@click.option("--family", "families", multiple=True, help="Only these.  [default: all]")
@click.option("--out", type=click.Path(path_type=Path), help="File for the figures as JSON.")
def main(scenes: int, frames: int, groups: float, workers: int, families: tuple[str, ...], out: Path | None) -> None:
    """Ask, learn, try, print."""
    train: Asked = defaultdict(list)
    held_out: Asked = defaultdict(list)
    jobs = [(index, frames, groups, families or FAMILIES) for index in range(scenes)]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for index, asked in enumerate(tqdm(pool.map(questions, jobs), total=scenes, unit="scene")):
            for name, rows in asked.items():
                (held_out if index % 2 else train)[name] += rows
    found = {}
    click.echo(f"{'family':30} {'train':>7} {'tried':>7} {'right':>7} {'interval':>15} {'chance':>7} {'above':>7}")
    for name in families or FAMILIES:
        guess = guess_choices(train[name], held_out[name])
        if guess is None:
            click.echo(f"{name:30} {len(train[name]):7} {len(held_out[name]):7}")
            continue
        found[name] = vars(guess) | {"train": len(train[name])}
        interval = f"{guess.low:.3f} to {guess.high:.3f}"
        line = f"{name:30} {len(train[name]):7} {guess.tried:7} {guess.right:7.3f} {interval:>15} {guess.chance:7.3f}"
        click.echo(f"{line} {100 * (guess.right - guess.chance):+6.1f}")
    if out:
        out.write_text(json.dumps(found, indent=2))


def questions(job: tuple[int, int, float, tuple[str, ...]]) -> Asked:
    """Every family's multiple choices about one scene, as the rows of a shard hold them."""
    index, frames, per_frame, families = job
    exact = synthetic.make(index, frames=frames, width=224, height=168)
    scene, views, summaries = exact.scene(), ViewStore(), []
    for frame in scene.frames:
        views.append(prepare(frame))
        summaries.append(summarise(views[len(views) - 1]))
    recipe = DataRecipe(pairs=PairSettings(per_frame=per_frame))
    rng, part = np.random.default_rng(index), np.zeros(frames)
    found = covisibility(summaries)
    poses = np.stack(exact.world_from_camera)
    pairs, _ = select_pairs(found, poses, part, recipe.pairs, rng)
    groups, _ = grow_groups(pairs, found, poses, part, (recipe.pairs, recipe.groups), rng)
    of_scene = SceneViews(scene, scene.frames, views, recipe)
    askers = {
        name: Asker(of_scene, groups, {name: 1.0}, {"choice": 1.0}, [0, index], Counter(), Counter())
        for name in families
    }
    asked: Asked = {}
    for group in groups:
        for name, asker in askers.items():
            if posed := asker.ask(group):
                row = {"question": posed.text, "options": posed.options, "answer": posed.answer}
                asked.setdefault(name, []).append(row)
    return asked


if __name__ == "__main__":
    main()
