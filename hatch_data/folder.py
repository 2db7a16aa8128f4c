"""The folder of a build: what may be written into it, what is done already, and how it is committed.

OUT/.build/plan.json            what is being built; another plan in the same folder is refused
OUT/.build/<scene>/report.json  a finished scene, written last, with its shards beside it
OUT/<split>-00000-of-00004.parquet, OUT/README.md, OUT/build.json    a finished build; `build.json` is written last
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hatch_data import __version__
from hatch_data.card import dataset_card
from hatch_data.errors import ScanError, ShardError
from hatch_data.pipeline import SceneJob, SceneReport
from hatch_data.recipe import DataRecipe
from hatch_data.sampling import splits_by_space
from hatch_data.scans import ScanRef
from hatch_data.shards import MANIFEST, SPLITS, read_manifest, write_text

STAGING = ".build"


class BuildFolder:
    """The output of one build. Opening it raises `ShardError` where the folder holds anything else."""

    def __init__(self, out: Path, refs: list[ScanRef], recipe: DataRecipe, limit: int | None):
        self.out, self.refs, self.recipe, self.limit = out, refs, recipe, limit
        self.staging = out / STAGING
        self.plan = {
            "version": __version__,
            "recipe": recipe.model_dump(mode="json"),
            "limit": limit,
            "scans": {ref.scene: {"layout": ref.layout, "path": ref.path} for ref in refs},
        }
        self.finished = self._is_ours()

    def _is_ours(self) -> bool:
        """Whether the folder already holds exactly this build, finished."""
        if not self.out.exists():
            return False
        if not self.out.is_dir():
            raise ShardError(f"{self.out}: is a file; name a folder for --out")
        plan_file = self.staging / "plan.json"
        if (self.out / MANIFEST).exists():
            found = read_manifest(self.out)["plan"]
        elif plan_file.exists():
            found = json.loads(plan_file.read_text(encoding="utf-8"))
        elif any(self.out.iterdir()):
            raise ShardError(f"{self.out}: is not empty and holds no build; name another folder for --out")
        else:
            return False
        if found != self.plan:
            raise ShardError(
                f"{self.out}: holds another build ({_difference(found, self.plan)}); name another folder for --out"
            )
        return (self.out / MANIFEST).exists()

    def begin(self) -> None:
        """Write the plan before anything else."""
        self.staging.mkdir(parents=True, exist_ok=True)
        write_text(self.staging / "plan.json", json.dumps(self.plan, indent=2))

    def jobs(self) -> list[SceneJob]:
        """A job for every scan, those already done included."""
        by_space = self.split_rule == "space"
        spaces = splits_by_space([ref.space for ref in self.refs], self.recipe.split) if by_space else {}
        shares = _shares(self.limit, len(self.refs))
        return [
            SceneJob(ref, self.recipe, spaces.get(ref.space), share, str(self.staging))
            for ref, share in zip(self.refs, shares, strict=True)
        ]

    @property
    def split_rule(self) -> str:
        """`space` or `time`."""
        if self.recipe.split.by != "auto":
            return self.recipe.split.by
        return "space" if len({ref.space for ref in self.refs}) > 1 else "time"

    def done(self) -> dict[str, SceneReport]:
        """Reports of the scenes that are finished."""
        found = {}
        for ref in self.refs:
            file = self.staging / ref.scene / "report.json"
            if file.exists():
                found[ref.scene] = SceneReport(**json.loads(file.read_text(encoding="utf-8")))
        return found

    def commit(self, reports: list[SceneReport]) -> dict[str, Any]:
        """Rename all shards into place, write the card, and last the manifest, which is returned.

        May be cut off and repeated at any point. Raises `ScanError` where no scan gave a row.
        """
        reports = sorted(reports, key=lambda report: report.scene)
        if not any(report.shards for report in reports):
            failed = [report.failure for report in reports if report.failure]
            raise ScanError(failed[0] if failed else f"{self.out}: no scan gave any row; look at hatch-data doctor")
        for split in SPLITS:
            shards = [(report, shard) for report in reports for shard in report.shards if shard["split"] == split]
            for number, (report, shard) in enumerate(shards):
                staged = self.staging / report.scene / shard["file"]
                final = self.out / f"{split}-{number:05d}-of-{len(shards):05d}.parquet"
                if staged.exists():
                    staged.replace(final)
                elif not final.exists():
                    raise ShardError(f"{staged}: a finished shard is gone; remove {self.out} and build again")
                shard["file"] = final.name
        manifest = self._manifest(reports)
        write_text(self.out / "README.md", dataset_card(manifest))
        write_text(self.out / MANIFEST, json.dumps(manifest, indent=2))
        shutil.rmtree(self.staging)
        return manifest

    def _manifest(self, reports: list[SceneReport]) -> dict[str, Any]:
        totals: dict[str, Counter[str]] = {}
        for name in ("rows", "tasks", "dropped_frames", "left_out_pairs", "rejected_questions"):
            totals[name] = sum((Counter(getattr(report, name)) for report in reports), Counter())
        return {
            "plan": self.plan,
            "recipe_digest": self.recipe.digest,
            "versions": {"hatch-spatial": __version__, "numpy": np.__version__, "pyarrow": pa.__version__},
            "split": {"by": self.split_rule, **self.recipe.split.model_dump(exclude={"by"})},
            "totals": {name: dict(sorted(counts.items())) for name, counts in totals.items()},
            "scenes": {report.scene: asdict(report) for report in reports},
        }


def _shares(limit: int | None, scans: int) -> list[int | None]:
    """A limit on rows dealt out to the scans, so that it does not matter which is built first."""
    if limit is None:
        return [None] * scans
    return [limit // scans + (k < limit % scans) for k in range(scans)]


def _difference(found: dict[str, Any], wanted: dict[str, Any], at: str = "") -> str:
    """The first place where two plans differ, in words."""
    for key in sorted(set(found) | set(wanted)):
        name = f"{at}.{key}" if at else key
        a, b = found.get(key), wanted.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            if a != b:
                return _difference(a, b, name)
        elif a != b:
            return f"{name} is {json.dumps(a)} there and {json.dumps(b)} here"
    return "no difference"
