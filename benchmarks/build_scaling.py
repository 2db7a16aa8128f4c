"""What a build costs beside its scans, and what a second worker brings.

python benchmarks/build_scaling.py workers ../shared/scans/redkitchen-7scenes --copies 8
python benchmarks/build_scaling.py many --scans 2000
"""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import threading
import time
from pathlib import Path

import click
import numpy as np

from hatch_data import build, settings
from hatch_data.pipeline import build_scene
from hatch_data.recipe import DataRecipe


@click.group()
def main() -> None:
    """Time whole builds."""


@main.command()
@click.argument("scan", type=click.Path(exists=True, path_type=Path))
@click.option("--copies", default=8, show_default=True)
@click.option("--recipe", default="pairs", show_default=True)
@click.option("--rounds", default=2, show_default=True, help="Each number of workers in turn; the best counts.")
def workers(scan: Path, copies: int, recipe: str, rounds: int) -> None:
    """One worker against two, on copies of a scan."""
    typed = settings.load(DataRecipe, settings.resolve(recipe, "data"))
    folder = Path(tempfile.mkdtemp(prefix="hatch-benchmark-"))
    try:
        for k in range(copies):
            shutil.copytree(scan, folder / "scans" / f"copy-{k}")
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for number in range(rounds):
            for count, times in seconds.items():
                plan = build.plan([str(folder / "scans")], folder / f"out-{count}-{number}", typed)
                began = time.perf_counter()
                build.run(plan, count)
                times.append(time.perf_counter() - began)
        one, two = min(seconds[1]), min(seconds[2])
        print(f"{copies} x {scan.name}: {one:.1f} s with 1 worker, {two:.1f} s with 2, ratio {one / two:.2f}")
    finally:
        shutil.rmtree(folder)


def cpu_s() -> float:
    """Processor time of this process and of the workers that have ended: what a busy machine does not stretch."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@main.command()
@click.option("--scans", default=2000, show_default=True)
@click.option("--alone", default=100, show_default=True, help="Scans built without a build around them, to compare.")
def many(scans: int, alone: int) -> None:
    """Tiny scans: overhead of each, and the memory of the parent."""
    typed = settings.load(
        DataRecipe,
        settings.resolve("pairs", "data"),
        ["frames.every=20", "rows_per_scene=1", "pairs.least_overlap=0", "scan.check=false"],
    )
    folder = Path(tempfile.mkdtemp(prefix="hatch-benchmark-"))
    try:
        plan = build.plan([f"synthetic:{scans}"], folder / "out", typed)
        jobs = build.plan([f"synthetic:{scans}"], folder / "alone", typed).jobs()
        build_scene(jobs[0])
        some = jobs[:: max(1, scans // alone)]
        began, cpu = time.perf_counter(), cpu_s()
        for job in some:
            build_scene(job)
        own_ms, own_cpu_ms = (1000 * s / len(some) for s in (time.perf_counter() - began, cpu_s() - cpu))
        shutil.rmtree(folder / "alone")
        memory: list[float] = []
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.2):
                memory.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6)

        threading.Thread(target=watch, daemon=True).start()
        began, cpu = time.perf_counter(), cpu_s()
        manifest = build.run(plan, 1)
        each_ms, each_cpu_ms = (1000 * s / scans for s in (time.perf_counter() - began, cpu_s() - cpu))
        ended.set()
        quarter = len(memory) // 4
        first, last = np.mean(memory[:quarter]), np.mean(memory[-quarter:])
        print(f"{scans} scans, {sum(manifest['totals']['rows'].values())} rows")
        print(f"a scan alone {own_ms:.0f} ms, within the build {each_ms:.0f} ms: overhead {each_ms - own_ms:.0f} ms")
        cpu_ms = each_cpu_ms - own_cpu_ms
        print(
            f"processor time: {own_cpu_ms:.0f} ms, {each_cpu_ms:.0f} ms, {cpu_ms:.0f} ms, the worker's start included"
        )
        print(f"memory of the parent: first quarter {first:.0f} MB, last {last:.0f} MB, peak {max(memory):.0f} MB")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
