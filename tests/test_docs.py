"""The documentation names every setting that a recipe may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from hatch_data.questions import FAMILIES
from hatch_data.recipe import DataRecipe
from hatch_data.settings import Settings
from hatch_train.recipe import Recipe
from hatch_train.stages import KINDS

DOCS = Path(__file__).parents[1] / "docs"


def keys(kind: type[Settings], prefix: str = "") -> list[str]:
    """All settings of a recipe as dotted keys."""
    found = []
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Settings):
            found += keys(inner, f"{prefix}{name}.")
        else:
            found.append(f"{prefix}{name}")
    return found


@pytest.mark.parametrize(
    "kind", [DataRecipe, Recipe, *(stage.Settings for stage in KINDS.values())], ids=lambda kind: kind.__name__
)
def test_every_setting_is_documented(kind):
    text = (DOCS / "recipes.md").read_text(encoding="utf-8")
    missing = [key for key in keys(kind) if f"`{key}`" not in text]
    assert len(keys(kind)) > 3
    assert not missing


def test_every_family_is_documented():
    text = (DOCS / "questions.md").read_text(encoding="utf-8")
    assert [name for name in FAMILIES if f"`{name}`" not in text] == []
