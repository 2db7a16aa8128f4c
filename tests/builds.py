"""Small builds of synthetic scenes, made the way the command line makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatch_data import build
from hatch_data.recipe import DataRecipe
from hatch_data.settings import load

#: Every sixth frame of a synthetic scene and two pairs for each: under a second a scene.
SMALL = ("frames.every=6", "pairs.per_frame=2")


def build_small(
    out: Path, scenes: str = "synthetic:3", *settings: str, workers: int = 1, **options: Any
) -> dict[str, Any]:
    """Build `scenes` into `out` with the settings of `SMALL` and those given; the manifest."""
    plan = build.plan((scenes,), out, load(DataRecipe, None, (*SMALL, *settings)), **options)
    return build.run(plan, workers)
