"""The command: find the scans, examine each, write its pictures and its recipe, tell what came of it."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hatch_data.doctor import examine
from hatch_data.doctor.pictures import draw
from hatch_data.doctor.verdicts import RECIPE, Diagnosis
from hatch_data.errors import ScanError
from hatch_data.recipe import DataRecipe
from hatch_data.scans import ScanRef, find
from hatch_data.shards import write_text

_WIDTH = 80


@dataclass(frozen=True)
class Visit:
    """What the doctor found, and what was written. `failure`: the scan cannot be read at all."""

    scene: str
    diagnosis: Diagnosis | None
    written: list[Path]
    failure: str | None = None

    @property
    def exit_code(self) -> int:
        """0 no fault, 1 faults, 2 unusable."""
        return self.diagnosis.exit_code if self.diagnosis else 2

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        if self.diagnosis is None:
            return {"scene": self.scene, "grade": "unusable", "failure": self.failure}
        return {**self.diagnosis.as_json(), "written": [str(path) for path in self.written]}

    def as_text(self) -> str:
        """For a terminal of 80 columns."""
        if self.diagnosis is None:
            return _wrapped(f"{self.scene}: unusable: {self.failure}")
        found = self.diagnosis
        looked = (
            f"{found.examined} of {found.frames} frames" if found.examined < found.frames else f"{found.frames} frames"
        )
        lines = [f"{found.scene} ({found.layout}, {looked}): {found.grade}"]
        if found.overall:
            state = "frames agree" if not found.faults else "with the fixes to conventions, frames agree"
            lines.append(f"  {state} by {found.overall.agreement:.2f}, median error {found.overall.error_cm:.1f} cm")
        for verdict in found.verdicts:
            first, *rest = verdict.lines()
            lines.append(_wrapped(first, "  ", "    "))
            # A fix is to be copied: never broken.
            lines += ["    " + line if line.startswith("fix: ") else _wrapped(line, "    ") for line in rest]
        if not found.verdicts:
            lines.append("  nothing to report")
        lines += [f"  wrote {path}" for path in self.written]
        return "\n".join(lines)


def visit(path: str, layout: str | None, recipe: DataRecipe, out: Path | None) -> list[Visit]:
    """Examine every scan that `path` names, with the repairs of the recipe applied. Raises `ScanError` where it names
    none, or where the pictures would be written into a scan."""
    refs = find([path], layout)
    return [_visit(ref, recipe, _folder(ref, out, many=len(refs) > 1)) for ref in refs]


def _visit(ref: ScanRef, recipe: DataRecipe, folder: Path) -> Visit:
    try:
        seen = examine(ref.load(), recipe.of_scan(ref.scene))
    except ScanError as error:
        return Visit(ref.scene, None, [], " ".join(str(error).split()))
    folder.mkdir(parents=True, exist_ok=True)
    written = draw(seen, folder)
    if lines := seen.diagnosis.recipe():
        write_text(folder / RECIPE, lines)
        written.append(folder / RECIPE)
    return Visit(ref.scene, seen.diagnosis, written)


def _folder(ref: ScanRef, out: Path | None, many: bool) -> Path:
    folder = Path(f"{ref.scene}-doctor") if out is None else out / ref.scene if many else out
    scan = Path(ref.path).resolve()
    if scan.exists() and folder.resolve().is_relative_to(scan):
        raise ScanError(f"{folder}: lies inside the scan, where nothing is written; give another folder with --out")
    return folder


def _wrapped(text: str, first: str = "", rest: str | None = None) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=first, subsequent_indent=first if rest is None else rest)
