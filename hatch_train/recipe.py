"""What to train: typed settings from YAML, flags and `--set a.b=c`.

A recipe names a model, shard folders and stages. Stages run in the order in which they are written; each has a name,
a `kind` (the name, if left out) and the settings of that kind, which live beside the stage's code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import SerializeAsAny, field_validator

from hatch_data.errors import SettingsError
from hatch_data.settings import load, resolve, validate
from hatch_train.settings import RunSettings, StageSettings
from hatch_train.stages import KINDS


class Recipe(RunSettings):
    """A whole run: what, on what, and how."""

    stages: dict[str, SerializeAsAny[StageSettings]]

    @field_validator("stages", mode="before")
    @classmethod
    def _by_kind(cls, stages: Any) -> dict[str, StageSettings]:
        if not isinstance(stages, dict) or not stages:
            raise SettingsError("recipe: 'stages' must name at least one stage, as in stages: {supervised: {...}}")
        typed = {}
        for name, tree in stages.items():
            if isinstance(tree, StageSettings):
                typed[name] = tree
                continue
            if not isinstance(tree, dict):
                raise SettingsError(f"recipe: stage '{name}' must be a group of settings, not {tree!r}")
            kind = tree.get("kind", name)
            if kind not in KINDS:
                raise SettingsError(f"recipe: stage '{name}' is of unknown kind '{kind}'; known: {', '.join(KINDS)}")
            typed[name] = validate(KINDS[kind].Settings, {**tree, "kind": kind}, f"recipe: stage '{name}'")
        return typed


def read(name: str | Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """The recipe by path, or by name among those that travel with the package, with `--set` overrides."""
    return load(Recipe, resolve(name), overrides)


#: What may differ between a run and its continuation: it does not change what is computed.
FREE_KEYS = ("output", "processes", "data.workers", "data.image_cache_mb", "checkpoint")


def first_difference(old: dict[str, Any], new: dict[str, Any], parent: str = "") -> str | None:
    """The first key in which two recipe trees differ, as `key is A there, B here`; free keys do not count."""
    for key in [*new, *(k for k in old if k not in new)]:
        path = f"{parent}{key}"
        there, here = old.get(key), new.get(key)
        if path in FREE_KEYS:
            continue
        if isinstance(there, dict) and isinstance(here, dict):
            if (found := first_difference(there, here, f"{path}.")) is not None:
                return found
        elif there != here:
            return f"{path} is {there!r} there, {here!r} here"
    if parent == "stages." and list(old) != list(new):
        return f"the stages are {', '.join(old)} there, {', '.join(new)} here"
    return None
