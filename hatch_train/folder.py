"""The folder of a run: whose it is, with what it was made, what each stage trains on, and its report."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hatch_data.errors import SettingsError
from hatch_data.settings import to_yaml
from hatch_data.shards import commit, write_text
from hatch_train import metrics, parallel
from hatch_train.data import Item, Plan, Shards, manifests
from hatch_train.errors import TrainingError
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


def plan_of(stage: Stage, cache: Path | None = None) -> Plan:
    """The plan of a stage's training, its items kept in a folder `cache`. Raises `TrainingError` where it is empty."""
    data = stage.recipe.data
    shards = Shards(data.shards, "train", stage.small)
    items = _kept_items(stage, shards, cache) if cache else stage.items(shards)
    plan = Plan(shards, items, stage.caps, stage.recipe.seed, single_image_share=data.single_image_share)
    if not plan.items:
        raise TrainingError(f"stage {stage.name}: nothing to train on in {', '.join(data.shards)}")
    return plan


def _kept_items(stage: Stage, shards: Shards, cache: Path) -> list[Item]:
    """The stage's items, which cost minutes for many rows, as they were found for the same settings and files."""
    files = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in shards.files]
    recipe = stage.recipe
    facts = [stage.settings.model_dump(mode="json"), recipe.model.model_dump(mode="json"), recipe.seed, files]
    path = cache / f"{stage.name}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}.npy"
    if path.is_file():
        return [Item(*numbers) for numbers in np.load(path).tolist()]
    items = stage.items(shards)
    if parallel.rank() == 0:
        cache.mkdir(exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        np.save(partial, np.array([astuple(item) for item in items], np.int64).reshape(-1, 4))
        commit(partial, path)
    return items


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
        if stage.name not in self.tree["stages"]:
            packs = plan.epoch(0)
            self.tree["stages"][stage.name] = {
                "kind": stage.settings.kind,
                "steps": stage.settings.steps,
                "items": len(plan.items),
                "dropped": plan.dropped,
                "packs": len(packs),
                "fill": round(plan.fill(packs), 4),
                "skipped": [],
            }
        return self.tree["stages"][stage.name]

    def save(self) -> None:
        write_text(self.path, json.dumps(self.tree, indent=2))


def report_text(report: dict[str, Any]) -> str:
    """A small table of what each stage changed on the held-out split."""
    lines = []
    for name, stage in report["stages"].items():
        before, after = stage["before"], stage["after"]
        lines += [f"{name}: {stage['steps']} steps in {stage.get('seconds', 0):.0f} s, {stage['items']} items"]
        if stage["dropped"]:
            lines.append(f"  {len(stage['dropped'])} items too long for a pack: {', '.join(stage['dropped'][:5])} ...")
        if not after:
            lines.append("  no held-out rows in these shards")
            continue
        baselines = after.get("baselines", {})
        lines.append(f"  {'held out':18}" + "".join(f"{title:>15}" for title in ("before", "after", *baselines)))
        for key, value in after.items():
            if isinstance(value, float):
                columns = [before.get(key), value, *(figures.get(key) for figures in baselines.values())]
                lines.append(f"  {key:18}" + "".join(f"{_figure(key, v):>15}" for v in columns))
        counted = next((f"{after[key]} {key}" for key in ("pairs", "samples") if key in after), "")
        lines.append(f"  on {counted}" + (f", {after['replies']} replies" if "replies" in after else ""))
        for reward, title in metrics.REWARDS.items() if "rows" in before and "rows" in after else ():
            if (found := metrics.paired(before["rows"], after["rows"], reward)) is not None:
                bounds = f"{found['low']:+.3f} to {found['high']:+.3f} at 95 %, Wilcoxon p {found['p']:.2g}"
                lines.append(f"  {title} {found['difference']:+.3f} ({bounds}) on {found['rows']} rows, paired")
    lines.append(f"held out by {' and '.join(sorted(set(report['split'])))}; before is {report['from']}")
    lines.append(f"model: {report['model']}")
    return "\n".join(lines)


def _figure(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1%}" if any(word in key for word in ("recall", "PCK", "right", "match")) else f"{value:.3f}"
