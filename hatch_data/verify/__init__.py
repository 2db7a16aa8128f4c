"""Re-derive what the rows of a build claim: from what they store alone, and from the scan itself where it is at hand.

    folder ----> build.json, checksums, splits            `folder`
    row -------> poses, actions, text, images, answer     `rows`, `answers`
    maps ------> epipolar geometry, own weights, pixels   `maps`
    row + scan > depth of the scan, and a fresh build     `scans`

A check is a function that yields what disagrees, in words. Where a plain formula will do, it is used instead of the
code that made the claim.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from hatch_data.errors import ShardError
from hatch_data.recipe import DataRecipe
from hatch_data.scans import ScanRef, find
from hatch_data.settings import validate
from hatch_data.shards import SCHEMA, Row, from_record, open_shard, read_manifest, read_records, shard_files
from hatch_data.soundness import fault
from hatch_data.terminal import table
from hatch_data.verify import folder as folders
from hatch_data.verify.answers import ANSWERS, markers_show
from hatch_data.verify.maps import MAP_CHECKS, MAP_FORM
from hatch_data.verify.rows import FORM_CHECKS, POSE_CHECKS, TEXT_CHECKS, Check, Terms, expected_id

#: Disagreements printed in full; all are in the JSON.
SHOWN = 20
#: So few rows are checked before other processes would have begun.
FEW_ROWS = 300


@dataclass(frozen=True)
class Disagreement:
    """One claim that is not borne out: where (a row's id or a file), which check, what and by how much."""

    where: str
    check: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.check}: {self.what}"


@dataclass
class Report:
    """What was checked and what disagreed. `checked` counts rows (or files) for each check, in order."""

    folder: str
    rows: int = 0
    checked: dict[str, int] = field(default_factory=dict)
    disagreements: list[Disagreement] = field(default_factory=list)
    scans_not_given: list[str] = field(default_factory=list)

    def note(self, check: str, where: str, found: Iterable[str]) -> None:
        """Count one run of a check and keep what it found."""
        self.checked[check] = self.checked.get(check, 0) + 1
        self.disagreements += [Disagreement(where, check, what) for what in found]

    def add(self, part: Report) -> None:
        """Count what was found in some of the rows."""
        self.rows += part.rows
        for check, count in part.checked.items():
            self.checked[check] = self.checked.get(check, 0) + count
        self.disagreements += part.disagreements

    @property
    def agrees(self) -> bool:
        """Whether nothing disagreed."""
        return not self.disagreements

    def to_json(self) -> dict[str, Any]:
        """Plain data, for `--json`."""
        return {"agrees": self.agrees, "disagreeing": self._disagreeing(), **asdict(self)}

    def to_text(self) -> str:
        """A table of the checks for a terminal, and the first disagreements in full."""
        disagreeing = self._disagreeing()
        counts = [(check, count, disagreeing.get(check, 0)) for check, count in self.checked.items()]
        lines = [table(("check", "checked", "disagree"), counts), *map(str, self.disagreements[:SHOWN])]
        if len(self.disagreements) > SHOWN:
            lines.append(f"... and {len(self.disagreements) - SHOWN} more, all in --json")
        if self.scans_not_given:
            lines.append(f"not compared with their scan, not given: {', '.join(self.scans_not_given)}")
        verdict = "all agree" if self.agrees else f"{len(self.disagreements)} disagreements"
        return "\n".join([*lines, f"{self.rows} rows in {self.folder}: {verdict}"])

    def _disagreeing(self) -> dict[str, int]:
        """Rows or files that disagree, by check."""
        places = {(one.check, one.where) for one in self.disagreements}
        return {check: n for check in self.checked if (n := sum(c == check for c, _ in places))}


def verify(folder: Path, scenes: Sequence[str] = (), layout: str | None = None, workers: int | None = None) -> Report:
    """Check a finished build, and against the scans in `scenes` where any are given. Progress goes to stderr.

    `workers`: processes, by default one for each core, and no others than this where there are few rows.
    Raises `ShardError` for what is no finished build or cannot be read, `ScanError` for scans that cannot be.
    """
    manifest = read_manifest(folder)
    checker = Checker(folder, manifest)
    shard_files(folder)
    report = Report(str(folder))
    checker.compare_with(_scans(manifest, scenes, layout, report))
    report.note("recipe digest", "build.json", folders.digest_fits(manifest))
    for file, found in folders.files_fit(folder, manifest):
        report.note("checksum", file, found)
    seen, missing = folders.Census(), list(checker.not_compared())
    total = sum(manifest["totals"]["rows"].values())
    with tqdm(total=total, unit="row", desc="verify", mininterval=1.0) as bar:
        for part in _checked(checker, workers, total, bar.update):
            for split, name in part.names:
                report.note("unique", str(name["id"]), seen.add(split, name))
            report.add(part.report)
            missing += part.missing
    report.note("counts", "build.json", seen.counts_fit(manifest))
    report.note("splits", "build.json", seen.splits_hold(manifest))
    if checker.compares:
        report.note("rows of a fresh build", "build.json", missing)
    return report


@dataclass
class Part:
    """What was found in some rows: the report of their own checks, (split, what names it) of each row that has a name,
    and what a fresh build of their scan has more."""

    report: Report
    names: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


#: A row group of a shard: its split, its file, its number.
Group = tuple[str, Path, int]


class Checker:
    """Checks the rows of a build, in this process or another."""

    def __init__(self, folder: Path, manifest: dict[str, Any]):
        self.folder, self.manifest = folder, manifest
        self._terms = _terms(folder, manifest)
        self._refs: dict[str, ScanRef] = {}

    def compare_with(self, refs: dict[str, ScanRef]) -> None:
        """Hold the rows of these scans against them, too."""
        self._refs = refs

    @property
    def compares(self) -> bool:
        """Whether there are scans to hold rows against."""
        return bool(self._refs)

    def not_compared(self) -> Iterator[str]:
        """Why no row is held against a fresh build, if so."""
        return self._against().not_compared() if self.compares else iter(())

    def parts(self) -> list[list[Group]]:
        """Row groups that are checked together: those of a scan that is built again for them, else each alone."""
        scene_of = {shard["file"]: name for name, scene in self.manifest["scenes"].items() for shard in scene["shards"]}
        parts: dict[Any, list[Group]] = {}
        for split in self.manifest["totals"]["rows"]:
            if any(self.folder.glob(f"{split}-*.parquet")):
                for file in shard_files(self.folder, split):
                    for group in range(open_shard(file).num_row_groups):
                        scene = scene_of.get(file.name)
                        key = scene if scene in self._refs else (file, group)
                        parts.setdefault(key, []).append((split, file, group))
        return list(parts.values())

    def check(self, groups: list[Group], tick: Callable[[int], object] = lambda rows: None) -> Part:
        """Check the rows of some row groups; `tick` hears of each."""
        part = Part(Report(str(self.folder)))
        against = self._against() if self.compares else None
        for split, file, group in groups:
            for record in read_records(file, group, sound=False):
                self._check_row(part, against, split, record)
                tick(1)
        part.missing = list(against.missing()) if against is not None else []
        return part

    def _check_row(self, part: Part, against: Any, split: str, record: dict[str, Any]) -> None:
        report, where = part.report, str(record["id"])
        report.rows += 1
        name = {column: record[column] for column in folders.NAMES}
        if None not in name.values():
            part.names.append((split, name))
        unsound = fault(pa.Table.from_pylist([record], SCHEMA))
        report.note("columns", where, [unsound] if unsound else [])
        if unsound:
            return
        row = from_record(record)
        _check_alone(report, row, _terms_of(row, self._terms))
        if against is not None and row.scene in against:
            for check, texts in against.compare(row, record, split):
                report.note(check, where, texts)

    def _against(self) -> Any:
        from hatch_data.verify.scans import AgainstScans

        return AgainstScans(self.manifest, self._refs)


def _checked(checker: Checker, workers: int | None, rows: int, tick: Callable[[int], object]) -> Iterator[Part]:
    """All parts in their order."""
    parts = checker.parts()
    workers = min(len(os.sched_getaffinity(0)) if workers is None else workers, len(parts))
    if workers < 2 or rows <= FEW_ROWS:
        yield from (checker.check(groups, tick) for groups in parts)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin, (checker,)) as pool:
        for part in pool.map(_check, parts):
            tick(part.report.rows)
            yield part


_checker: Checker


def _begin(checker: Checker) -> None:
    """Give a process its checker once: the manifest of many scans is large."""
    global _checker
    _checker = checker


def _check(groups: list[Group]) -> Part:
    return _checker.check(groups)


def _check_alone(report: Report, row: Row, terms: Terms) -> None:
    """All checks that a row needs nothing else for. What presupposes sound cameras or maps waits for these."""
    for check, run in TEXT_CHECKS.items():
        report.note(check, row.id, run(row, terms))
    sound = True
    for check, run in {**FORM_CHECKS, **MAP_FORM}.items():
        found = list(run(row, terms))
        report.note(check, row.id, found)
        sound &= not found
    if sound:
        answer: dict[str, Check] = {"markers": markers_show}
        if row.task in ANSWERS and terms.recipe.questions_from == "families":
            answer[f"answer: {row.task}"] = ANSWERS[row.task]
        for check, run in {**POSE_CHECKS, **MAP_CHECKS, **answer}.items():
            report.note(check, row.id, run(row, terms))


def _terms(folder: Path, manifest: dict[str, Any]) -> list[Terms]:
    """Those of the build, or of all builds that were merged."""
    try:
        recipes = {manifest["recipe_digest"]: manifest["plan"]["recipe"], **manifest.get("recipes", {})}
        where = str(folder / "build.json")
        return [Terms(validate(DataRecipe, recipe, where), digest) for digest, recipe in recipes.items()]
    except (KeyError, TypeError):
        raise ShardError(f"{folder / 'build.json'}: not the manifest of a build; build again") from None


def _terms_of(row: Row, terms: list[Terms]) -> Terms:
    """The terms under which a row has its id, else the first."""
    return next((one for one in terms if expected_id(row, one.digest) == row.id), terms[0])


def _scans(manifest: dict[str, Any], scenes: Sequence[str], layout: str | None, report: Report) -> dict[str, ScanRef]:
    """The scans that were given. Raises `ScanError`, `ShardError`."""
    if not scenes:
        return {}
    if "merged" in manifest:
        parts = ", ".join(source["folder"] for source in manifest["merged"]["sources"])
        raise ShardError(f"{report.folder}: is merged; hold the builds it was made from against the scans: {parts}")
    refs = {ref.scene: ref for ref in find(list(scenes), layout)}
    report.scans_not_given = sorted(set(manifest["scenes"]) - set(refs))
    if len(report.scans_not_given) == len(manifest["scenes"]):
        known = ", ".join(sorted(manifest["scenes"])[:5])
        raise ShardError(f"{report.folder}: none of {', '.join(sorted(refs)[:5])} is in this build; it holds {known}")
    return refs


__all__ = ["Disagreement", "Report", "verify"]
