"""A folder of shards and a small recipe on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hatch_data.settings import validate
from hatch_train.model import VisionLanguageModel, load
from hatch_train.recipe import Recipe
from hatch_train.settings import ModelSettings
from hatch_train.shapes import FAMILIES
from tests.train import rows

# Models this small gain nothing from threads, which would only wait for one another.
torch.set_num_threads(1)

SIZES = {
    "vision_width": 32,
    "vision_depth": 2,
    "vision_heads": 2,
    "vision_mlp": 48,
    "text_width": 32,
    "text_depth": 2,
    "text_heads": 2,
    "text_kv_heads": 1,
    "text_mlp": 48,
    "vocabulary": 400,
}
MODEL = {"name": "tiny", "max_pixels": 10_000, "tiny": SIZES}


def model_of(family: str) -> dict[str, Any]:
    return {**MODEL, "tiny": {**SIZES, "family": family}}


MakeRecipe = Callable[..., Recipe]


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rows.build(tmp_path_factory.mktemp("shards"))


@pytest.fixture
def make_recipe(shards: Path, tmp_path: Path) -> MakeRecipe:
    """A recipe on the shards, with the stages named and top-level keys changed."""

    def make(stages: dict[str, Any], **changes: Any) -> Recipe:
        tree = {
            "output": str(tmp_path / "run"),
            "device": "cpu",
            "model": MODEL,
            "data": {"shards": [str(shards)], "workers": 0, "augment": {}},
            "stages": stages,
        }
        return validate(Recipe, {**tree, **changes}, "test")

    return make


@pytest.fixture(scope="session", params=FAMILIES)
def each_tiny(request: pytest.FixtureRequest) -> VisionLanguageModel:
    """A random model of each family, fp32, not trained; tests must not change it."""
    texts = [turn["content"] for n in range(20) for turn in rows.row(n).messages]
    return load(ModelSettings(**model_of(request.param)), texts, seed=0)


@pytest.fixture(scope="session")
def tiny() -> VisionLanguageModel:
    """One of them, where the family does not matter."""
    texts = [turn["content"] for n in range(20) for turn in rows.row(n).messages]
    return load(ModelSettings(**MODEL), texts, seed=0)
