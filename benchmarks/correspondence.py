"""How long a scan takes, side by side in one run.

    python benchmarks/correspondence.py ../shared/scans/redkitchen-7scenes

Decoding the scan's frames alone is the floor that everything is held against; the same pairs go through the plain
NumPy reference. Compilation happens before the clock starts, and times are those of the processor, so that other work
on the machine is not counted; `taskset -c 0` keeps all on one core. Memory is that of a fresh process that builds once.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import click
import numpy as np

from hatch_data import correspondence_reference, settings
from hatch_data.correspondence import correspond
from hatch_data.covisibility import covisibility, summarise
from hatch_data.patches import token_grid
from hatch_data.pipeline import SceneJob, build_scene
from hatch_data.recipe import DataRecipe
from hatch_data.sampling import select_pairs
from hatch_data.scans import find
from hatch_data.views import prepare


@click.command()
@click.argument("scan")
@click.option("--pairs", default=100, show_default=True, help="Pairs timed one by one.")
@click.option("--reference-pairs", default=5, show_default=True, help="Pairs through the NumPy reference.")
@click.option("--recipe", default="pairs", show_default=True, help="Recipe of the whole build.")
@click.option("--rounds", default=3, show_default=True, help="Times decoding and building are measured in turn.")
def main(scan: str, pairs: int, reference_pairs: int, recipe: str, rounds: int) -> None:
    """Print a table for one SCAN."""
    ref = find([scan])[0]
    scene = ref.load()
    typed = settings.load(DataRecipe, settings.resolve(recipe, "data"))
    warm_up(ref, typed)

    decode, whole = [], []
    for _ in range(rounds):
        decode.append(timed(lambda: read_all(scene)))
        whole.append(build_once(ref, typed))
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
        peak_mb = fresh.submit(peak_of_build_mb, ref, typed).result()

    views = [prepare(frame) for frame in scene.frames]
    summaries = [summarise(view) for view in views]
    covisible_s = min(timed(lambda: covisibility(summaries)) for _ in range(3))
    poses = np.stack([view.world_from_camera for view in views])
    chosen, _ = select_pairs(
        covisibility(summaries), poses, np.zeros(len(views)), typed.pairs, np.random.default_rng(0)
    )
    chosen = [chosen[k] for k in np.random.default_rng(0).permutation(len(chosen))[:pairs]]
    grids = [token_grid(frame.camera.height, frame.camera.width) for frame in scene.frames]

    def both(find_map, pair):
        i, j = pair.first, pair.second
        find_map(views[i], views[j], grids[i], grids[j])
        find_map(views[j], views[i], grids[j], grids[i])

    kernel = [timed(lambda p=pair: both(correspond, p)) for pair in chosen]
    every_pixel = partial(correspondence_reference.correspond, stride_px=1)
    reference = [timed(lambda p=pair: both(every_pixel, p)) for pair in chosen[:reference_pairs]]

    decode_s, whole_s = median(decode), median(whole)
    rows = [
        ("frames", f"{len(scene.frames)}"),
        ("decoding depth, reading colour", f"{decode_s:.2f} s"),
        (f"whole build, recipe '{recipe}'", f"{whole_s:.2f} s"),
        ("  ratio to decoding", f"{whole_s / decode_s:.2f}"),
        ("co-visibility of all frames", f"{covisible_s:.3f} s"),
        ("pair, both directions, median", f"{median(kernel) * 1e3:.2f} ms of {len(kernel)}"),
        ("  from every pixel in plain NumPy", f"{median(reference) * 1e3:.1f} ms of {len(reference)}"),
        ("  ratio", f"{median(reference) / median(kernel):.0f}"),
        ("peak memory of a process that builds once", f"{peak_mb:.0f} MB"),
    ]
    for name, value in rows:
        print(f"{name:42s}{value:>24s}")


def warm_up(ref, typed: DataRecipe) -> None:
    """Compile every kernel once."""
    build_once(ref, typed.model_copy(update={"frames": typed.frames.model_copy(update={"every": 8})}))


def read_all(scene) -> None:
    """Decode the depth and read the colour bytes of every frame."""
    for frame in scene.frames:
        frame.depth()
        frame.read_color()


def build_once(ref, typed: DataRecipe) -> float:
    """Seconds that it takes to build one scan, into a folder that is thrown away afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="hatch-benchmark-"))
    try:
        start = time.process_time()
        report = build_scene(SceneJob(ref, typed, None, None, str(folder)))
        assert report.failure is None, report.failure
        return time.process_time() - start
    finally:
        shutil.rmtree(folder)


def peak_of_build_mb(ref, typed: DataRecipe) -> float:
    """Peak memory of this process once it has built one scan, that of whatever started it not counted."""
    build_once(ref, typed)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def timed(work) -> float:
    """Seconds of processor time that `work` takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
