"""The folder of a run: whose it is, with what it was made, and its report."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import yaml

from hatch_data.errors import SettingsError
from hatch_data.settings import to_yaml
from hatch_data.shards import write_text
from hatch_train.data import Plan, manifests
from hatch_train.recipe import Recipe, first_difference
from hatch_train.stages.base import Stage

_PACKAGES = ("hatch-spatial", "torch", "transformers", "peft", "tokenizers", "numpy", "pyarrow", "pillow")


def claim(recipe: Recipe) -> None:
    """Make the output folder this recipe's, or raise `SettingsError` where it is another's."""
    output = Path(recipe.output)
    path = output / "recipe.yaml"
    if path.is_file():
        old = yaml.safe_load(path.read_text(encoding="utf-8"))
        if (difference := first_difference(old, recipe.model_dump(mode="json"))) is not None:
            raise SettingsError(f"{output}: holds a run of another recipe ({difference}); use another --set output=...")
        return
    if output.is_dir() and any(output.iterdir()):
        raise SettingsError(f"{output}: not empty and not a run of hatch-train; use another --set output=...")
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / "versions.json", json.dumps({name: _version(name) for name in _PACKAGES}, indent=2))
    write_text(path, to_yaml(recipe))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


class Report:
    """`report.json`, written after each evaluation and each checkpoint, and read back on resume."""

    def __init__(self, recipe: Recipe):
        self.path = Path(recipe.output) / "report.json"
        tree = json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {"stages": {}}
        #: How each shard folder's held-out rows were set apart, as its build says.
        split = [str(m.get("split", {}).get("by", "a rule not said")) for m in manifests(recipe.data.shards)]
        base = "a random model" if recipe.model.name == "tiny" else recipe.model.name
        self.tree: dict[str, Any] = {**tree, "split": split, "from": base}

    def stage(self, stage: Stage, plan: Plan) -> dict[str, Any]:
        """The part of a stage, to be filled."""
        packs = plan.epoch(0)
        facts = {
            "kind": stage.settings.kind,
            "steps": stage.settings.steps,
            "items": len(plan.items),
            "dropped": plan.dropped,
            "packs": len(packs),
            "fill": round(plan.fill(packs), 4),
            "skipped": [],
        }
        return self.tree["stages"].setdefault(stage.name, facts)

    def save(self) -> None:
        write_text(self.path, json.dumps(self.tree, indent=2))
