"""Speed and memory of reading a ScanNet `.sens` of many frames, against decoding its blobs from memory.

    python benchmarks/sens.py --frames 2000

A recording is written first, by a process of its own: colour of 1296 x 968 and depth of 640 x 480, rendered, repeated
until there are enough frames. A fresh process then reads it: once the reader's way (index, bytes, JPEG and zlib decoded
frame by frame), once decoding the same blobs that already lie in memory, frame after frame in turn so that both meet
the same machine.
"""

from __future__ import annotations

import io
import multiprocessing
import resource
import struct
import tempfile
import time
import zlib
from pathlib import Path

import click
import numpy as np
from PIL import Image

from hatch_data.geometry import Camera
from hatch_data.scans import scannet_sens

COLOR = Camera(1296, 968, 1170.0, 1170.0, 647.5, 483.5)
DEPTH = COLOR.resized(640, 480)
JPEG, ZLIB = 2, 1


def write(path: Path, frames: int, rendered: int) -> None:
    """A recording of a synthetic room, in ScanNet's format."""
    from hatch_data.scans import synthetic

    scene = synthetic.make(0, frames=rendered)
    records = []
    for pose in scene.world_from_camera:
        color = io.BytesIO()
        Image.fromarray(scene.render((pose, COLOR)).color).save(color, "JPEG", quality=90)
        depth = np.round(scene.render((pose, DEPTH)).depth * 1000)
        noisy = depth + np.random.default_rng(len(records)).normal(0, 2, depth.shape)
        blob = zlib.compress(noisy.clip(0, 65535).astype("<u2").tobytes())
        sizes = struct.pack("<4Q", 0, 0, color.tell(), len(blob))
        records.append(pose.astype("<f4").tobytes() + sizes + color.getvalue() + blob)
    k = [np.pad(camera.matrix, (0, 1)) + np.diag([0, 0, 0, 1.0]) for camera in (COLOR, DEPTH)]
    matrices = b"".join(m.astype("<f4").tobytes() for m in (k[0], np.eye(4), k[1], np.eye(4)))
    sizes = (COLOR.width, COLOR.height, DEPTH.width, DEPTH.height)
    with path.open("wb") as file:
        file.write(struct.pack("<IQ", 4, 9) + b"synthetic" + matrices)
        file.write(struct.pack("<ii4IfQ", JPEG, ZLIB, *sizes, 1000.0, frames))
        for n in range(frames):
            file.write(records[n % rendered])


def decode(color: bytes) -> None:
    """JPEG to pixels."""
    Image.open(io.BytesIO(color)).convert("RGB").load()


def measure(path: Path) -> dict[str, float]:
    """Seconds of the reader and of the blobs alone, and peak memory of this process."""
    start = time.perf_counter()
    scene = scannet_sens.read(path)
    index_s = reader_s = time.perf_counter() - start
    blobs_s = 0.0
    for frame in scene.frames:
        start = time.perf_counter()
        decode(frame.read_color())
        frame.depth()
        reader_s += time.perf_counter() - start
        color, depth = (read.__self__.blob.read() for read in (frame.read_color, frame.read_depth))
        start = time.perf_counter()
        decode(color)
        np.frombuffer(zlib.decompress(depth), "<u2").reshape(DEPTH.height, DEPTH.width)
        blobs_s += time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"frames": len(scene.frames), "index": index_s, "reader": reader_s, "blobs": blobs_s, "peak": peak_mb}


@click.command()
@click.option("--frames", default=2000, show_default=True)
@click.option("--rendered", default=50, show_default=True, help="Frames rendered; the rest repeat them.")
def main(frames: int, rendered: int) -> None:
    """Print frames a second of both ways, their ratio, and the reader's peak memory."""
    with tempfile.TemporaryDirectory(prefix="hatch-benchmark-") as folder:
        path = Path(folder) / "scene0000_00.sens"
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            pool.apply(write, (path, frames, min(rendered, frames)))
            found = pool.apply(measure, (path,))
        gigabytes = path.stat().st_size / 1e9
    count = found["frames"]
    print(f"{count:.0f} frames, {gigabytes:.2f} GB; index and checks {found['index'] * 1e3:.0f} ms")
    print(f"{'blobs alone':<14}{count / found['blobs']:8.1f} frames/s")
    print(
        f"{'reader':<14}{count / found['reader']:8.1f} frames/s   {found['blobs'] / found['reader']:.1%} of the blobs"
    )
    print(f"peak memory of the reading process {found['peak']:.0f} MB")


if __name__ == "__main__":
    main()
