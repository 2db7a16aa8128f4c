"""The same bytes whatever happens: builds whose process group is killed at random moments, again and again.

    python benchmarks/interruption.py --scenes synthetic:20 --scenes ../shared/scans/redkitchen-7scenes --kills 50
    python benchmarks/interruption.py --engine ray --scenes synthetic:6 --kills 6

A kill comes up to a scan's time after the start, or after some more scans are done. It is followed by a rerun of the
same command, over what is left. A build that is done before its kill begins anew in another folder. Nothing that was
done may be built again, every folder must come out as the undisturbed one, and no process may be left behind.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]


def checksums(out: Path) -> dict[str, str]:
    """Every file of a finished build."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def done(out: Path) -> dict[str, tuple[int, int]]:
    """The scans that are finished and not yet committed, with what tells a file from one written later."""
    stats = {file.parent.name: file.stat() for file in out.glob(".build/*/report.json")}
    return {scene: (stat.st_ino, stat.st_mtime_ns) for scene, stat in stats.items()}


def built_again(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> list[str]:
    """Scans that were finished and were written again, or are gone."""
    return [scene for scene, stat in before.items() if after and after.get(scene) != stat]


def under_way(out: Path) -> set[Path]:
    """The scans that are being built, or were when the build was killed."""
    return set(out.glob(".build/.running/*"))


def committing(out: Path) -> bool:
    """Whether the build came as far as moving its shards into place."""
    return (out / "build.json").exists() or (out / ".build" / "committing").exists()


def left_behind(mark: str, within_s: float = 30.0) -> list[int]:
    """Processes with `mark` in their environment that do not end in time: workers, and all that a Ray cluster is."""
    ends = time.monotonic() + within_s
    while found := [int(one.name) for one in Path("/proc").glob("[0-9]*") if mark.encode() in _environment(one)]:
        if time.monotonic() > ends:
            break
        time.sleep(0.5)
    return found


def _environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""  # It has just ended, or is another user's.


@click.command()
@click.option("--scenes", multiple=True, default=["synthetic:20"], show_default=True)
@click.option("--kills", default=50, show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--engine", default="local", show_default=True)
@click.option("--set", "settings", multiple=True, default=["frames.every=6", "pairs.per_frame=2"], show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
def main(scenes: tuple[str, ...], kills: int, workers: int, engine: str, settings: tuple[str, ...], seed: int) -> None:
    """Kill, rerun, compare; exit code 1 where anything differs."""
    moments = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="hatch-benchmark-"))
    words = [word for scene in scenes for word in ("--scenes", scene)]
    words += [word for setting in settings for word in ("--set", setting)]

    def command(out: Path, count: int, kind: str) -> list[str]:
        build = [sys.executable, "-m", "hatch_data.cli", "build", "--out", str(out)]
        return [*build, *words, "--workers", str(count), "--engine", kind]

    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_TMPDIR": str(folder)}
    quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        began = time.monotonic()
        subprocess.run(command(folder / "whole", 1, "local"), check=True, **quiet)
        whole, expected = time.monotonic() - began, checksums(folder / "whole")
        moment = whole / max(len(expected), 1)
        print(f"undisturbed: {len(expected)} files in {whole:.0f} s", flush=True)
        number = count = again = wrong = 0
        killed_in: dict[str, int] = {"before a scan was begun": 0, "within scans": 0, "while committing": 0}
        while count < kills:
            out = folder / f"killed-{number}"
            number += 1
            finished = False
            while not finished and count < kills:
                before, begun = done(out), under_way(out)
                process = subprocess.Popen(command(out, workers, engine), start_new_session=True, **quiet)
                late = committing(out)
                wanted = len(before) + moments.choice((0, 0, 1, 2, 3))
                while process.poll() is None and not committing(out) and len(done(out)) < wanted:
                    time.sleep(0.005)
                try:
                    finished = process.wait(moments.uniform(0, 10.0 if late else moment)) == 0
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    count += 1
                    phases = (committing(out), "while committing"), (under_way(out) - begun, "within scans")
                    killed_in[next((name for now, name in phases if now), "before a scan was begun")] += 1
                if not committing(out):
                    again += len(built_again(before, done(out)))
            if not finished:
                subprocess.run(command(out, workers, engine), check=True, **quiet)
            wrong += checksums(out) != expected
        print(f"{count} kills ({', '.join(f'{n} {where}' for where, n in killed_in.items())}) over {number} builds")
        print(f"scans built again that were done: {again}; builds that differ from the undisturbed one: {wrong}")
        left = left_behind(str(folder))
        print(f"processes left behind: {len(left)}")
    finally:
        for process_id in left_behind(str(folder), 0.0):
            os.kill(process_id, signal.SIGKILL)
        shutil.rmtree(folder)
    sys.exit(1 if again or wrong or left else 0)


if __name__ == "__main__":
    main()
