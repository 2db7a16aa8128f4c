"""What the doctor says: verdicts, each with its evidence and the settings that put it right, and a grade over all."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import yaml

from hatch_data.recipe import ScanSettings

#: A fault: the build is refused. A note: true and worth knowing, the build goes on. Undecided: the scan cannot tell.
Weight = Literal["fault", "note", "undecided"]
Grade = Literal["sound", "faulty", "unusable"]
#: The recipe lines that the doctor writes, and the longest flags that are shown in a terminal instead.
RECIPE = "recipe.yaml"
_SHOWN = 70


@dataclass(frozen=True)
class Measure:
    """How well pairs of frames agree: median difference in cm, at the typical depth, and share of points that agree."""

    error_cm: float
    agreement: float


@dataclass(frozen=True)
class Verdict:
    """One finding. `kind` is what is wrong in a few fixed words, `text` says it in full, `fix` holds settings under
    `scan`, `before` and `after` the agreement of frames without and with the fix."""

    weight: Weight
    kind: str
    text: str
    fix: dict[str, Any] = field(default_factory=dict)
    before: Measure | None = None
    after: Measure | None = None

    def lines(self) -> list[str]:
        """For an 80-column terminal, wrapped by the caller."""
        told = [f"{self.weight}: {self.kind}: {self.text}"]
        if self.before:
            change = f"error {self.before.error_cm:.1f} cm, agreement {self.before.agreement:.2f}"
            if self.after:
                change += f"; with the fix {self.after.error_cm:.1f} cm, {self.after.agreement:.2f}"
            told.append(change)
        if self.fix:
            flags = set_flags(self.fix)
            told.append(f"fix: {flags}" if len(flags) <= _SHOWN else f"fix: see {RECIPE}, written beside the pictures")
        return told


@dataclass(frozen=True)
class Diagnosis:
    """All verdicts on a scan. `settings` are the repairs in full, those that were already applied included."""

    scene: str
    layout: str
    frames: int
    examined: int
    verdicts: list[Verdict]
    settings: ScanSettings
    overall: Measure | None = None

    @property
    def faults(self) -> list[Verdict]:
        """Verdicts for which a build is refused."""
        return [verdict for verdict in self.verdicts if verdict.weight == "fault"]

    @property
    def grade(self) -> Grade:
        """unusable: something is wrong and no fix is known."""
        if any(not fault.fix for fault in self.faults):
            return "unusable"
        return "faulty" if self.faults else "sound"

    @property
    def exit_code(self) -> int:
        """0 no fault, 1 faults, 2 unusable."""
        return {"sound": 0, "faulty": 1, "unusable": 2}[self.grade]

    def recipe(self) -> str:
        """Recipe lines with the fixes of all faults, YAML, those of notes as comments; empty where there are none."""
        changed = changes(self.settings)
        lines = [_yaml({"scan": changed})] if changed else []
        for note in self.verdicts:
            if note.weight == "note" and note.fix:
                offered = _yaml({"scan": note.fix}).splitlines()
                lines += [f"# {note.kind}: {note.text}\n", *(f"# {line}\n" for line in offered)]
        return "".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Everything, for machines."""
        return {
            "scene": self.scene,
            "layout": self.layout,
            "frames": self.frames,
            "examined": self.examined,
            "grade": self.grade,
            "overall": asdict(self.overall) if self.overall else None,
            "verdicts": [
                {**asdict(verdict), "fix": {f"scan.{key}": value for key, value in verdict.fix.items()}}
                for verdict in self.verdicts
            ],
            "recipe": {"scan": changes(self.settings)},
        }


def changes(settings: ScanSettings) -> dict[str, Any]:
    """The settings that are not the default, as plain values."""
    return settings.model_dump(mode="json", exclude_defaults=True)


def set_flags(fix: dict[str, Any], group: str = "scan") -> str:
    """The fix as flags for a shell, below `group` of the recipe."""
    return " ".join(f"--set {shlex.quote(f'{group}.{key}={_value(value)}')}" for key, value in fix.items())


def composed(settings: ScanSettings, fix: dict[str, Any]) -> ScanSettings:
    """Settings that do what `settings` do and then what `fix` does."""
    both = dict(fix)
    for key in ("depth_scale", "intrinsics_scale", "focal_scale", "color_zoom"):
        if key in fix:
            both[key] = round(getattr(settings, key) * fix[key], 6)
    for key in ("pose_shift", "time_shift_s"):
        if key in fix:
            both[key] = getattr(settings, key) + fix[key]
    if "rotate" in fix:
        both["rotate"] = (settings.rotate + fix["rotate"]) % 360
    if "color_shift_px" in fix:
        moved = zip(settings.color_shift_px, fix["color_shift_px"], strict=True)
        both["color_shift_px"] = [a + b for a, b in moved]
    if "skip" in fix:
        both["skip"] = [*settings.skip, *fix["skip"]]
    for key, plain in (("pose", "world_from_camera"), ("camera_axes", "opencv"), ("depth_is", "planar")):
        if key in fix and getattr(settings, key) != plain:
            both[key] = plain
    return ScanSettings.model_validate({**settings.model_dump(), **both})


def _yaml(tree: dict[str, Any]) -> str:
    return yaml.safe_dump(tree, sort_keys=False, width=100)


def _value(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list | tuple) else str(value)
