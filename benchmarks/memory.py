"""Peak memory of building one long scan: rendered frames of 640 x 480, repeated until there are enough.

    python benchmarks/memory.py --frames 5000

The depth of all frames does not fit the budget and goes to a temporary file; it is decoded once.
"""

from __future__ import annotations

import io
import resource
import shutil
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
import numpy as np
from PIL import Image

from hatch_data import settings
from hatch_data.pipeline import SceneJob, build_scene
from hatch_data.recipe import DataRecipe
from hatch_data.scans import ScanRef, synthetic
from hatch_data.scene import DepthImage, Scene


class RepeatedScan(ScanRef):
    """A rendered scene whose frames come again and again, from PNG and JPEG bytes held in memory."""

    def load(self) -> Scene:
        """The scene, its `frames` rendered once each."""
        wanted, rendered = (int(n) for n in self.path.split("/"))
        scene = synthetic.make(0, frames=rendered, width=640, height=480).scene()
        stored = []
        for frame in scene.frames:
            png = io.BytesIO()
            Image.fromarray(np.round(frame.read_depth().metres * 1000).astype(np.uint16)).save(png, "PNG")
            stored.append((png.getvalue(), frame.read_color()))
        frames = []
        for k in range(wanted):
            png, jpeg = stored[k % rendered]
            frame = scene.frames[k % rendered]
            frames.append(
                replace(frame, id=f"{k:06d}", read_color=partial(bytes, jpeg), read_depth=partial(decode, png))
            )
        return replace(scene, frames=frames)


def decode(png: bytes) -> DepthImage:
    """Millimetre PNG bytes as depth."""
    return DepthImage(np.array(Image.open(io.BytesIO(png))).astype(np.uint16), 1e-3)


@click.command()
@click.option("--frames", default=5000, show_default=True)
@click.option("--rendered", default=100, show_default=True, help="Frames rendered; the rest repeat them.")
@click.option("--pairs-per-frame", default=1.0, show_default=True)
def main(frames: int, rendered: int, pairs_per_frame: float) -> None:
    """Build one scan of many frames and print the peak memory of the process."""
    typed = settings.load(
        DataRecipe,
        settings.resolve("pairs", "data"),
        [f"pairs.per_frame={pairs_per_frame}", "pairs.least_rotation_deg=0"],
    )
    folder = Path(tempfile.mkdtemp(prefix="hatch-benchmark-"))
    start = time.perf_counter()
    try:
        ref = RepeatedScan("synthetic", f"{frames}/{rendered}", "repeated", "repeated")
        report = build_scene(SceneJob(ref, typed, None, None, str(folder)))
    finally:
        shutil.rmtree(folder)
    assert report.failure is None, report.failure
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{report.used_frames} frames of 640 x 480, {sum(report.rows.values())} rows")
    print(f"{time.perf_counter() - start:.0f} s, rendering included; peak memory {peak_mb:.0f} MB")


if __name__ == "__main__":
    main()
