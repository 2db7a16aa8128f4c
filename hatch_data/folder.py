"""The folder of a build: what may be written into it, what is done already, and how it is committed.

OUT/.build/plan.json            what is being built; another plan in the same folder is refused
OUT/.build/.running/            scans under way (`hatch_data.engines.attempt`)
OUT/.build/<scene>/report.json  a scan that is done, its shards beside it, or one that failed and is not tried again
OUT/.build/committing           all scans are done or failed, shards are being moved into place
OUT/.build/build.json           a finished build that is being opened again, for scans that failed before
OUT/failures/<scene>.log        why a scan failed
OUT/<split>-00000-of-00004.parquet, OUT/README.md, OUT/*.png, OUT/build.json    finished; `build.json` comes last
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hatch_data import __version__
from hatch_data.card import dataset_card, pictures
from hatch_data.engines import Outcome
from hatch_data.engines.attempt import REPORT, RUNNING
from hatch_data.errors import ScanError, ShardError
from hatch_data.pipeline import SceneJob, SceneReport
from hatch_data.recipe import DataRecipe
from hatch_data.scans import ScanRef
from hatch_data.shards import MANIFEST, SPLITS
from hatch_data.splits import evaluation_spaces, splits_by_space
from hatch_data.storage import LocalStorage, storage, writing

STAGING = ".build"
FAILURES = "failures"
_PLAN, _COMMITTING, _REOPENED = f"{STAGING}/plan.json", f"{STAGING}/committing", f"{STAGING}/{MANIFEST}"
#: Parts of the package that decide no byte of a row.
_BESIDE_THE_ROWS = ("build", "card", "cli", "engines", "folder", "forecast", "merge", "preview", "progress", "storage")


class BuildFolder:
    """The output of one build. Opening it raises `ShardError` where the folder holds anything else."""

    def __init__(self, out: str | Path, refs: list[ScanRef], recipe: DataRecipe, limit: int | None):
        self.out, self.refs, self.recipe, self.limit = out, refs, recipe, limit
        self.store = storage(out)
        self.plan = {
            "version": __version__,
            "code": code_digest(),
            "recipe": recipe.model_dump(mode="json"),
            "limit": limit,
            "scans": {ref.scene: _told(ref) for ref in refs},
        }
        with writing(out):
            self._check()

    @property
    def finished(self) -> bool:
        """Whether the build is committed."""
        return self.store.exists(MANIFEST)

    @property
    def under_way(self) -> bool:
        """Whether something is staged that a commit has yet to take in."""
        return self.store.exists(STAGING)

    def _check(self) -> None:
        """Refuse a folder that holds anything but this build."""
        if self.store.is_file():
            raise ShardError(f"{self.out}: is a file; name a folder for --out")
        if self.finished:
            found = self.manifest().get("plan", {})
        elif self.store.exists(_PLAN):
            found = self._json(_PLAN)
        elif any(name != STAGING for name in self.store.names()):
            raise ShardError(f"{self.out}: is not empty and holds no build; name another folder for --out")
        else:
            return
        if found != self.plan:
            raise ShardError(
                f"{self.out}: holds another build ({_difference(found, self.plan)}); name another folder for --out"
            )

    def manifest(self) -> dict[str, Any]:
        """`build.json`."""
        return self._json(MANIFEST)

    def _json(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads(self.store.read_text(name))
        except (OSError, ValueError) as error:
            raise ShardError(f"{self.out}/{name}: damaged ({error}); build again into another folder") from None
        if not isinstance(found, dict):
            raise ShardError(f"{self.out}/{name}: damaged (not an object); build again into another folder")
        return found

    def _report(self, told: dict[str, Any], where: str) -> SceneReport:
        try:
            return SceneReport(**told)
        except TypeError as error:
            raise ShardError(f"{self.out}/{where}: damaged ({error}); build again into another folder") from None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Within, the folder is this process's: the plan is written, and what was cut off before is put in order.

        Raises `ShardError` where another build is at work in it or where it cannot be written.
        """
        with writing(self.out):
            if not isinstance(self.store, LocalStorage):
                self._begin()
                yield
                return
            (self.store.root / STAGING).mkdir(parents=True, exist_ok=True)
            lock = os.open(self.store.root, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._begin()
                yield
            except BlockingIOError:
                raise ShardError(f"{self.out}: another build is at work here; wait for it, or stop it") from None
            finally:
                os.close(lock)

    def _begin(self) -> None:
        self.store.remove(f"{STAGING}/{RUNNING}")
        if self.store.exists(_REOPENED):
            self._take_back()
        if self.store.exists(_COMMITTING):
            if self.finished:
                self.store.remove(STAGING)
            else:
                self.commit(self.reports())
        if not self.store.exists(_PLAN):
            self.store.write_text(_PLAN, json.dumps(self.plan, indent=2))

    def jobs(self) -> list[SceneJob]:
        """A job for every scan, those already done included."""
        by_space = self.split_rule == "space"
        held_out = self.held_out[0]
        names = [ref.space for ref in self.refs]
        spaces = splits_by_space(names, self.recipe.split, held_out) if by_space else dict.fromkeys(held_out, "test")
        shares = _shares(self.limit, len(self.refs))
        staging = str(storage(f"{self.out}/{STAGING}"))
        if isinstance(self.store, LocalStorage):
            staging = str((self.store.root / STAGING).absolute())
        return [
            SceneJob(ref, self.recipe, spaces.get(ref.space), share, staging)
            for ref, share in zip(self.refs, shares, strict=True)
        ]

    @cached_property
    def held_out(self) -> tuple[set[str], list[str]]:
        """Spaces kept for test, since benchmarks ask about them, and what to warn of."""
        return evaluation_spaces(self.refs, self.recipe.split)

    @property
    def split_rule(self) -> str:
        """`space` or `time`."""
        if self.recipe.split.by != "auto":
            return self.recipe.split.by
        return "space" if len({ref.space for ref in self.refs}) > 1 else "time"

    def reports(self) -> dict[str, SceneReport]:
        """Reports of the scenes that are done or have failed."""
        found = {}
        if self.finished:
            found = {name: self._report(told, MANIFEST) for name, told in self.manifest()["scenes"].items()}
        staged = set(self.store.names(STAGING))
        for ref in self.refs:
            name = f"{STAGING}/{ref.scene}/{REPORT}"
            if ref.scene in staged and self.store.exists(name):
                found[ref.scene] = self._report(self._json(name), name)
        return found

    def states(self) -> dict[str, int]:
        """How many scans are done, failed, running (or were when the build was cut off), and waiting."""
        reports = self.reports()
        begun = {name.rpartition(".")[0] for name in self.store.names(f"{STAGING}/{RUNNING}")}
        counts = Counter(done=0, failed=0, running=0, waiting=0)
        for ref in self.refs:
            if report := reports.get(ref.scene):
                counts["failed" if report.failure else "done"] += 1
            else:
                counts["running" if ref.scene in begun else "waiting"] += 1
        return dict(counts)

    def note_failure(self, outcome: Outcome) -> None:
        """Keep why a scan failed: it is not tried again unless asked for."""
        report = outcome.report
        self.store.write_text(f"{FAILURES}/{report.scene}.log", outcome.log.rstrip() + "\n")
        self.store.write_text(f"{STAGING}/{report.scene}/{REPORT}", json.dumps(asdict(report)))

    def commit(self, by_scene: dict[str, SceneReport]) -> dict[str, Any]:
        """Move all shards into place, write the card, and last the manifest, which is returned.

        May be cut off and repeated at any point. Raises `ScanError` where no scan gave a row.
        """
        reports = [by_scene[name] for name in sorted(by_scene)]
        if not any(report.shards for report in reports):
            failures = [report.failure for report in reports if report.failure]
            again = f"; {FAILURES}/ tells why, --retry-failed tries again" if failures else ""
            raise ScanError((failures or [f"{self.out}: no scan gave any row{_why_none(reports)}"])[0] + again)
        if self.finished and any(_staged_anew(report) for report in reports):
            self._reopen()
            return self.commit(self.reports())
        self.store.write_text(_COMMITTING, "")
        for split in SPLITS:
            shards = [(report, shard) for report in reports for shard in report.shards if shard["split"] == split]
            for number, (report, shard) in enumerate(shards):
                staged = f"{STAGING}/{report.scene}/{shard['file']}"
                shard["file"] = f"{split}-{number:05d}-of-{len(shards):05d}.parquet"
                if not self.finished and self.store.exists(staged):
                    self.store.move(staged, shard["file"])
                elif not self.store.exists(shard["file"]):
                    raise ShardError(
                        f"{self.out}/{staged}: a finished shard is gone; remove {self.out} and build again"
                    )
        manifest = self._manifest(reports)
        with tempfile.TemporaryDirectory(prefix="hatch-card-") as folder:
            for picture in pictures(manifest, Path(folder)):
                self.store.put(picture, picture.name)
        self.store.write_text("README.md", dataset_card(manifest))
        self._drop_old_logs(reports)
        self.store.write_text(MANIFEST, json.dumps(manifest, indent=2))
        self.store.remove(STAGING)
        return manifest

    def _drop_old_logs(self, reports: list[SceneReport]) -> None:
        told = {f"{report.scene}.log" for report in reports if report.failure}
        for name in set(self.store.names(FAILURES)) - told:
            self.store.remove(f"{FAILURES}/{name}")
        if not told:
            self.store.remove(FAILURES)

    def _reopen(self) -> None:
        """Make an unfinished build of a finished one, so that scans built since can be committed with the others."""
        staged = set(self.store.names(STAGING))
        for name, report in self.manifest()["scenes"].items():
            if name not in staged:
                shards = [
                    {**shard, "file": staged_name}
                    for staged_name, shard in zip(_staged_names(report), report["shards"], strict=True)
                ]
                self.store.write_text(f"{STAGING}/{name}/{REPORT}", json.dumps({**report, "shards": shards}))
        self.store.remove(_COMMITTING)
        self.store.move(MANIFEST, _REOPENED)
        self._take_back()

    def _take_back(self) -> None:
        """Second half of `_reopen`, to be repeated where it was cut off: shards go back to where they were built."""
        for name, report in self._json(_REOPENED)["scenes"].items():
            for staged_name, shard in zip(_staged_names(report), report["shards"], strict=True):
                if self.store.exists(shard["file"]):
                    self.store.move(shard["file"], f"{STAGING}/{name}/{staged_name}")
        self.store.remove(_REOPENED)

    def _manifest(self, reports: list[SceneReport]) -> dict[str, Any]:
        return {
            "plan": self.plan,
            "recipe_digest": self.recipe.digest,
            "versions": versions(),
            "split": {
                "by": self.split_rule,
                **self.recipe.split.model_dump(mode="json", exclude={"by"}),
                "held_out_spaces": sorted(self.held_out[0]),
                "warnings": self.held_out[1],
            },
            "totals": totals([asdict(report) for report in reports]),
            "scenes": {report.scene: asdict(report) for report in reports},
        }


def totals(reports: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """The counts of all scenes together."""
    found = {}
    for name in ("rows", "tasks", "dropped_frames", "left_out_pairs", "rejected_questions"):
        counts = sum((Counter(report[name]) for report in reports), Counter())
        found[name] = dict(sorted(counts.items()))
    return found


def _why_none(reports: list[SceneReport]) -> str:
    """Why scans gave no row: the greatest counts of each kind, on one line."""
    counts = totals([asdict(report) for report in reports])
    told = [
        f"{title}: {', '.join(f'{reason} {n}' for reason, n in Counter(counts[name]).most_common(3))}"
        for title, name in (
            ("pairs left out", "left_out_pairs"),
            ("questions not asked", "rejected_questions"),
            ("frames dropped", "dropped_frames"),
        )
        if counts[name]
    ]
    if not told:
        return "; no two views see the same surface; look at hatch-data doctor"
    groups = sum(report.groups for report in reports)
    asked = f" of {groups} groups of views" if groups else ""
    remedy = "loosen the settings that say so, and name another folder for --out"
    return f"{asked}; {'; '.join(told)}; {remedy}"


def versions() -> dict[str, str]:
    """What the bytes of a build depend on besides its plan."""
    return {"hatch-spatial": __version__, "numpy": np.__version__, "pyarrow": pa.__version__}


@cache
def code_digest() -> str:
    """A short hash of the sources that decide the bytes of a row: code under development changes between versions."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        name = file.relative_to(root)
        if name.parts[0].removesuffix(".py") not in _BESIDE_THE_ROWS:
            digest.update(f"{name.as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _staged_anew(report: SceneReport) -> bool:
    """Whether a report names its shards as they are called before a commit."""
    return any("-of-" not in shard["file"] for shard in report.shards)


def _staged_names(report: dict[str, Any]) -> list[str]:
    """The names that the shards of a scene had before the commit."""
    seen: Counter[str] = Counter()
    names = []
    for shard in report["shards"]:
        names.append(f"{shard['split']}-{seen[shard['split']]:05d}.parquet")
        seen[shard["split"]] += 1
    return names


def _shares(limit: int | None, scans: int) -> list[int | None]:
    """A limit on rows dealt out to the scans, so that it does not matter which is built first."""
    if limit is None:
        return [None] * scans
    return [limit // scans + (k < limit % scans) for k in range(scans)]


def _told(ref: ScanRef) -> dict[str, Any]:
    """What the plan says of a scan."""
    questions = {"questions": [list(place) for place in ref.questions]} if ref.questions else {}
    return {"layout": ref.layout, "path": ref.path, **questions}


def _difference(found: dict[str, Any], wanted: dict[str, Any], at: str = "") -> str:
    """The first place where two plans differ, in words."""
    for key in sorted(set(found) | set(wanted), key=lambda key: (key == "code", key)):
        name = f"{at}.{key}" if at else key
        a, b = found.get(key), wanted.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            if a != b:
                return _difference(a, b, name)
        elif a != b:
            return f"{name} is {json.dumps(a)} there and {json.dumps(b)} here"
    return "no difference"
