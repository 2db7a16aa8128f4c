"""Re-derive what the rows of a build claim: from what they store alone, and from the scan itself where it is at hand.

    folder ----> build.json, checksums, splits            `folder`
    row -------> poses, actions, text, images, answer     `rows`, `answers`
    maps ------> epipolar geometry, own weights, pixels   `maps`
    row + scan > depth of the scan, and a fresh build     `scans`

A check is a function that yields what disagrees, in words. Where a plain formula will do, it is used instead of the
code that made the claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from hatch_data.errors import ShardError
from hatch_data.recipe import DataRecipe
from hatch_data.scans import find
from hatch_data.settings import validate
from hatch_data.shards import SCHEMA, Row, from_record, read_manifest, read_rows, row_id, shard_files
from hatch_data.soundness import fault
from hatch_data.terminal import table
from hatch_data.verify import folder as folders
from hatch_data.verify.answers import ANSWERS, markers_show
from hatch_data.verify.maps import MAP_CHECKS, MAP_FORM
from hatch_data.verify.rows import FORM_CHECKS, POSE_CHECKS, TEXT_CHECKS, Check, Terms

#: Disagreements printed in full; all are in the JSON.
SHOWN = 20


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


def verify(folder: Path, scenes: Sequence[str] = (), layout: str | None = None) -> Report:
    """Check a finished build, and against the scans in `scenes` where any are given. Progress goes to stderr.

    Raises `ShardError` for what is no finished build or cannot be read, `ScanError` for scans that cannot be.
    """
    manifest = read_manifest(folder)
    terms = _terms(folder, manifest)
    shard_files(folder)
    report = Report(str(folder))
    report.note("recipe digest", "build.json", folders.digest_fits(manifest))
    for file, found in folders.files_fit(folder, manifest):
        report.note("checksum", file, found)
    seen = folders.Census()
    against = _against_scans(manifest, scenes, layout, report)
    total = sum(manifest["totals"]["rows"].values())
    for split, record in tqdm(_records(folder, manifest), total=total, unit="row", desc="verify", mininterval=1.0):
        where = str(record["id"])
        report.rows += 1
        if None not in (record["id"], record["scene"], record["task"], record["frames"]):
            report.note("unique", where, seen.add(split, record))
        unsound = fault(pa.Table.from_pylist([record], SCHEMA))
        report.note("columns", where, [unsound] if unsound else [])
        if unsound:
            continue
        row = from_record(record)
        _check_alone(report, row, _terms_of(row, terms))
        if against is not None and row.scene in against:
            for check, texts in against.compare(row, record, split):
                report.note(check, where, texts)
    report.note("counts", "build.json", seen.counts_fit(manifest))
    report.note("splits", "build.json", seen.splits_hold(manifest))
    if against is not None:
        report.note("rows of a fresh build", "build.json", against.missing())
    return report


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
    known = (row.scene, row.frames, row.task, row.form, row.question)
    return next((one for one in terms if row_id(*known, one.digest) == row.id), terms[0])


def _records(folder: Path, manifest: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(split, record) of every row."""
    for split in manifest["totals"]["rows"]:
        if any(folder.glob(f"{split}-*.parquet")):
            for record in read_rows(folder, split, sound=False):
                yield split, record


def _against_scans(manifest: dict[str, Any], scenes: Sequence[str], layout: str | None, report: Report) -> Any:
    """The comparison with the scans that were given, or None. Raises `ScanError`, `ShardError`."""
    if not scenes:
        return None
    if "merged" in manifest:
        parts = ", ".join(source["folder"] for source in manifest["merged"]["sources"])
        raise ShardError(f"{report.folder}: is merged; hold the builds it was made from against the scans: {parts}")
    from hatch_data.verify.scans import AgainstScans

    refs = {ref.scene: ref for ref in find(list(scenes), layout)}
    report.scans_not_given = sorted(set(manifest["scenes"]) - set(refs))
    if len(report.scans_not_given) == len(manifest["scenes"]):
        known = ", ".join(sorted(manifest["scenes"])[:5])
        raise ShardError(f"{report.folder}: none of {', '.join(sorted(refs)[:5])} is in this build; it holds {known}")
    return AgainstScans(manifest, refs)


__all__ = ["Disagreement", "Report", "verify"]
