"""Small builds of synthetic scenes, made the way the command line makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatch_data import build
from hatch_data.recipe import DataRecipe
from hatch_data.settings import load

#: Every sixth frame of a synthetic scene, two pairs for each, three families: under a second a scene.
SMALL = (
    "frames.every=6",
    "pairs.per_frame=2",
    "groups.sizes={2: 1}",
    "questions={patch_match: 1, camera_motion: 1, camera_position: 1}",
)


def build_small(
    out: Path, scenes: str = "synthetic:3", *settings: str, workers: int = 0, retry_failed: bool = False, **options: Any
) -> dict[str, Any]:
    """Build `scenes` into `out` with the settings of `SMALL` and those given; the manifest."""
    plan = build.plan((scenes,), out, load(DataRecipe, None, (*SMALL, *settings)), **options)
    return build.run(plan, workers, retry_failed=retry_failed)
