"""How the cost of co-visibility grows with the number of frames, on chains of synthetic rooms.

    python benchmarks/covisibility.py --frames 250,500,1000,2000,4000

More frames mean more rooms, as in a longer scan, so each view overlaps with about as many others. A growth of
t ~ n^1 is what culling should give; comparing all pairs grows with n^2.
"""

from __future__ import annotations

import time

import click
import numpy as np

from hatch_data.covisibility import covisibility, summarise
from hatch_data.scans import synthetic
from hatch_data.views import prepare

FRAMES_PER_ROOM = 60


@click.command()
@click.option("--frames", default="250,500,1000,2000,4000", show_default=True, help="Numbers of frames.")
def main(frames: str) -> None:
    """Print seconds and overlapping pairs per number of frames, and the exponent of growth."""
    counts = [int(n) for n in frames.split(",")]
    covisibility([summarise(prepare(frame)) for frame in synthetic.make(0, frames=20).scene().frames])
    seconds = []
    print(f"{'frames':>8}{'rooms':>8}{'pairs':>12}{'seconds':>10}{'ms a frame':>12}")
    for n in counts:
        rooms = max(2, n // FRAMES_PER_ROOM)
        scene = synthetic.make(0, frames=n, width=160, height=120, rooms=rooms).scene()
        summaries = [summarise(prepare(frame)) for frame in scene.frames]
        times = []
        for _ in range(3):
            start = time.perf_counter()
            found = covisibility(summaries)
            times.append(time.perf_counter() - start)
        seconds.append(min(times))
        print(f"{n:8d}{rooms:8d}{len(found.source):12d}{seconds[-1]:10.3f}{seconds[-1] / n * 1e3:12.2f}", flush=True)
    exponent = np.polyfit(np.log(counts), np.log(seconds), 1)[0]
    print(f"time grows with frames to the power {exponent:.2f}")


if __name__ == "__main__":
    main()
