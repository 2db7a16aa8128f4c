"""What can be guessed from text alone, family by family, on as many questions as it takes to be sure.

    PYTHONPATH=. python benchmarks/blind.py --workers 2 --rows out/blind.jsonl

Every family is put as a multiple choice to groups of views of synthetic scenes, without building rows; the guesser of
`hatch-data audit` learns on every second scene and is tried on the others. A family that has enough to learn from and
to be tried on is not asked again, so that further scenes cost little and rare families get their share. Prints a
table. With `--rows` a run that was cut off goes on where it stopped.
"""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter, defaultdict
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
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
from hatch_data.recipe import DataRecipe, GroupSettings, PairSettings
from hatch_data.sampling import grow_groups, select_pairs
from hatch_data.scans import synthetic
from hatch_data.scans.synthetic import SyntheticScene
from hatch_data.views import ViewStore, prepare
from tests.questions.exact_candidates import around

Asked = dict[str, list[dict[str, Any]]]
_ROUTES = GroupSettings(sizes={3: 1, 4: 1}, kinds={"route": 1})
#: Families that few groups of the default recipe serve have groups of their own.
OWN_GROUPS = {
    "camera_chain": _ROUTES,
    "mindcube_around": GroupSettings(sizes={3: 1, 4: 1}, kinds={"orbit": 1}),
    "mindcube_rotation": GroupSettings(sizes={3: 1, 4: 1, 6: 1}, kinds={"turn": 1}),
    "route_motion": _ROUTES,
    "spatial_imagination_oo_mv": GroupSettings(sizes={4: 1}, kinds={"walk": 1}),
}
#: Asked about views from all sides of an object, which the path of a camera through a room seldom has.
CIRCLING = ("mindcube_around",)


@dataclass(frozen=True)
class Job:
    """Some families about one scene, each asked until it has `most` questions."""

    scene: int
    frames: int
    per_frame: float
    families: tuple[str, ...]
    most: int


@dataclass
class Kept:
    """Questions by family: to learn on (of scenes of even number) and to be tried on (of odd number)."""

    train: Asked = field(default_factory=lambda: defaultdict(list))
    held_out: Asked = field(default_factory=lambda: defaultdict(list))
    scenes: set[int] = field(default_factory=set)

    def add(self, scene: int, asked: Asked) -> None:
        """Take in what was asked about a scene."""
        self.scenes.add(scene)
        for name, rows in asked.items():
            (self.held_out if scene % 2 else self.train)[name] += rows

    def lacking(self, families: tuple[str, ...], scene: int, enough: int) -> tuple[str, ...]:
        """Families of which a scene is still to be asked."""
        return tuple(name for name in families if len((self.held_out if scene % 2 else self.train)[name]) < enough)


@click.command()
@click.option("--scenes", default=1000, show_default=True, help="At most: half to learn on, half to try.")
@click.option("--enough", default=2000, show_default=True, help="Questions to learn on, and to try, of each family.")
@click.option("--most", default=80, show_default=True, help="Questions of a family about one scene.")
@click.option("--frames", default=60, show_default=True, help="Frames of a scene.")
@click.option("--groups", default=4.0, show_default=True, help="Groups of views for each frame.")
@click.option("--workers", default=2, show_default=True)
@click.option("--family", "families", multiple=True, help="Only these.  [default: all]")
@click.option("--rows", type=click.Path(path_type=Path), help="File of JSON lines in which questions are kept.")
@click.option("--out", type=click.Path(path_type=Path), help="File for the figures as JSON.")
def main(rows: Path | None, families: tuple[str, ...], out: Path | None, **how: Any) -> None:
    """Ask, learn, try, print."""
    kept, families = Kept(), families or FAMILIES
    if rows and rows.exists():
        for line in map(json.loads, rows.read_text().splitlines()):
            kept.add(line["scene"], line["asked"])
    ask_scenes(kept, families, rows, **how)
    found = {}
    click.echo(f"{'family':30} {'train':>7} {'tried':>7} {'right':>7} {'interval':>15} {'chance':>7} {'above':>7}")
    for name in families:
        train, held_out = kept.train[name], kept.held_out[name]
        guess = guess_choices(train, held_out)
        if guess is None:
            click.echo(f"{name:30} {len(train):7} {len(held_out):7}")
            continue
        found[name] = vars(guess) | {"train": len(train)}
        interval = f"{guess.low:.3f} to {guess.high:.3f}"
        line = f"{name:30} {len(train):7} {guess.tried:7} {guess.right:7.3f} {interval:>15} {guess.chance:7.3f}"
        click.echo(f"{line} {100 * (guess.right - guess.chance):+6.1f}")
    if out:
        out.write_text(json.dumps(found, indent=2))


def ask_scenes(
    kept: Kept,
    families: tuple[str, ...],
    rows: Path | None,
    scenes: int,
    enough: int,
    most: int,
    frames: int,
    groups: float,
    workers: int,
) -> None:
    """Ask one scene after the other until all families have enough; each scene's questions are kept as they come."""
    jobs = (
        Job(scene, frames, groups, lacking, most)
        for scene in tqdm(range(scenes), unit="scene")
        if scene not in kept.scenes and (lacking := kept.lacking(families, scene, enough))
    )
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        under_way: dict[Future[Asked], int] = {}
        more = True
        while more or under_way:
            # What to ask next is decided when a worker is free, by what is there by then.
            while more and len(under_way) < workers:
                job = next(jobs, None)
                more = job is not None
                if job:
                    under_way[pool.submit(questions, job)] = job.scene
            for done in wait(under_way, return_when=FIRST_COMPLETED).done:
                scene, asked = under_way.pop(done), done.result()
                kept.add(scene, asked)
                if rows:
                    with rows.open("a") as file:
                        file.write(json.dumps({"scene": scene, "asked": asked}) + "\n")


def questions(job: Job) -> Asked:
    """Multiple choices of some families about one scene, as the rows of a shard hold them."""
    exact = synthetic.make(job.scene, frames=job.frames, width=224, height=168)
    circling = [name for name in job.families if name in CIRCLING]
    asked = about(exact, [name for name in job.families if name not in circling], job)
    poses = [pose for one in exact.instances for pose in around(exact, one.world_from_box[:3, 3])] if circling else []
    if poses:
        circled = SyntheticScene(exact.index, exact.furnished, exact.camera, poses[: job.frames])
        asked |= about(circled, circling, job)
    return asked


def about(exact: SyntheticScene, families: list[str], job: Job) -> Asked:
    """What some families ask about the frames of a scene."""
    if not families:
        return {}
    scene, views, summaries = exact.scene(), ViewStore(), []
    for frame in scene.frames:
        views.append(prepare(frame))
        summaries.append(summarise(views[len(views) - 1]))
    recipe = DataRecipe(pairs=PairSettings(per_frame=job.per_frame))
    rng, part = np.random.default_rng(job.scene), np.zeros(len(scene.frames))
    found = covisibility(summaries)
    poses = np.stack(exact.world_from_camera)
    pairs, _ = select_pairs(found, poses, part, recipe.pairs, rng)
    of_scene = SceneViews(scene, scene.frames, views, recipe)
    asked: Asked = {name: [] for name in families}
    groupings = {id(own): own for own in (OWN_GROUPS.get(name, recipe.groups) for name in families)}
    for grouping in groupings.values():
        of_these = [name for name in families if OWN_GROUPS.get(name, recipe.groups) is grouping]
        groups, _ = grow_groups(pairs, found, poses, part, (recipe.pairs, grouping), rng)
        groups = [groups[k] for k in rng.permutation(len(groups))]
        askers = {
            name: Asker(of_scene, groups, {name: 1.0}, {"choice": 1.0}, [0, job.scene], Counter(), Counter())
            for name in of_these
        }
        # Group by group: what is known of its views is kept for the next family.
        for group in groups:
            for name, asker in askers.items():
                if len(asked[name]) < job.most and (posed := asker.ask(group)):
                    row = {"question": posed.text, "options": posed.options, "answer": posed.answer}
                    asked[name].append(row)
    return asked


if __name__ == "__main__":
    main()
