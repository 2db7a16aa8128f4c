"""Small builds of synthetic scenes, made the way the command line makes them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from hatch_data import build
from hatch_data.recipe import DataRecipe
from hatch_data.scans import synthetic
from hatch_data.scene import Scene
from hatch_data.settings import load

#: Every sixth frame of a synthetic scene, two pairs for each, three families: under a second a scene.
SMALL = (
    "frames.every=6",
    "pairs.per_frame=2",
    "groups.sizes={2: 1}",
    "questions={patch_match: 1, camera_motion: 1, camera_position: 1}",
)


def build_small(
    out: str | Path,
    scenes: str = "synthetic:3",
    *settings: str,
    workers: int = 0,
    retry_failed: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Build `scenes` into `out` with the settings of `SMALL` and those given; the manifest."""
    plan = build.plan((scenes,), out, load(DataRecipe, None, (*SMALL, *settings)), **options)
    return build.run(plan, workers, retry_failed=retry_failed)


_read = synthetic.read


@cache
def _rendered(path: str) -> Scene:
    scene = _read(path)
    frames = [replace(f, read_color=cache(f.read_color), read_depth=cache(f.depth)) for f in scene.frames]
    return replace(scene, frames=frames)


def remembered(path: str) -> Scene:
    """`synthetic.read`, each frame rendered once however often its scene is read."""
    scene = _rendered(path)
    return replace(scene, frames=[*scene.frames], instances=[*scene.instances], dropped={})
