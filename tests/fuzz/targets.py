"""What reads spoilt input. A target takes what is to be read and a folder to write into; `HatchError` is its right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hatch_data.pipeline import SceneJob, build_scene
from hatch_data.recipe import DataRecipe
from hatch_data.scans import ScanRef, find
from hatch_data.settings import load
from tests.fuzz import samples

#: Reads `place`, writes below `out`; whether something usable came of it.
Read = Callable[[Path, Path], bool]

#: The depth of all frames is read by every build, their colour by one that asks how sharp they are.
SETTINGS = (
    "frames.least_sharpness=0.001",
    "pairs.per_frame=2",
    "groups.sizes={2: 1}",
    "questions={camera_position: 1, object_count: 1, nearest_object: 1}",
)


def build(place: Path, out: Path) -> bool:
    """Find the scans and build each."""
    return _built(find([str(place)]), load(DataRecipe, None, SETTINGS), out)


def build_imported(place: Path, out: Path) -> bool:
    """Build the questions that came with the scans."""
    from hatch_data import imported

    recipe = load(DataRecipe, None, (*SETTINGS, "questions_from=spar"))
    return _built(imported.sample([str(place)], None, 0), recipe, out)


def _built(refs: list[ScanRef], recipe: DataRecipe, out: Path) -> bool:
    reports = [build_scene(SceneJob(ref, recipe, "train", None, str(out))) for ref in refs]
    for report in reports:
        if report.failure:
            one_line(report.failure)
    return any(report.failure is None for report in reports)


def doctor(place: Path, out: Path) -> bool:
    """Examine the first scan found, as `hatch-data doctor` does."""
    from hatch_data.doctor import examine
    from hatch_data.recipe import ScanSettings

    ref = find([str(place)])[0]
    examine(ref.load(), ScanSettings())
    return True


def verify(place: Path, out: Path) -> bool:
    """`hatch-data verify`."""
    from hatch_data.verify import verify

    report = verify(place)
    report.to_text()
    return report.agrees


def inspect(place: Path, out: Path) -> bool:
    """`hatch-data inspect`, of the rows of one scene in all."""
    from hatch_data.preview.inspect import inspect

    inspect(place, out / "preview", 3).as_text()
    return True


def merge(place: Path, out: Path) -> bool:
    """`hatch-data merge` of all rows but one: shards are copied whole, and one of them row by row."""
    from hatch_data import merge
    from hatch_data.shards import read_manifest

    rows = sum(read_manifest(place)["totals"]["rows"].values()) - 1
    merge.summary(merge.merge([place], out / "merged", {}, rows), out)
    return True


def audit(place: Path, out: Path) -> bool:
    """`hatch-data audit`."""
    from hatch_data.audit import audit

    audit(place).to_text()
    return True


def train(place: Path, out: Path) -> bool:
    """All that the trainer's workers read, of both stages: the plan, and every batch of it once."""
    from hatch_train.folder import plan_of
    from hatch_train.loop import learnable_texts
    from hatch_train.model import load_processor
    from hatch_train.recipe import Recipe
    from hatch_train.stages import KINDS

    recipe = _train_recipe(place, out, Recipe)
    processor = load_processor(recipe.model, learnable_texts(recipe))
    for name, settings in recipe.stages.items():
        stage = KINDS[settings.kind](name, settings, recipe, processor)
        plan = plan_of(stage)
        for pack in plan.epoch(0):
            stage.batch(plan.shards, [plan.items[k] for k in pack], 0)
    return True


def _train_recipe(place: Path, out: Path, kind: Any) -> Any:
    from hatch_data.settings import validate
    from tests.train.conftest import MODEL

    tree = {
        "output": str(out / "run"),
        "device": "cpu",
        "model": MODEL,
        "data": {"shards": [str(place)], "workers": 0, "augment": {}},
        "stages": {
            "a": {"kind": "patch_alignment", "steps": 1, "learning_rate": 1e-4},
            "b": {"kind": "supervised", "steps": 1, "learning_rate": 1e-4},
        },
    }
    return validate(kind, tree, "fuzz")


def one_line(told: str) -> None:
    """What a user is told is one line, and something."""
    assert told.strip() and len(told.splitlines()) == 1, f"not one line: {told!r:.300}"


#: Name -> how it is read, and the sound forms of what it reads.
TARGETS: dict[str, tuple[Read, tuple[samples.Write, ...]]] = {
    **{name: (build, forms) for name, forms in samples.SCANS.items()},
    "imported": (build_imported, samples.SCANS["imported"]),
    "doctor": (doctor, tuple(form for name, forms in samples.SCANS.items() if name != "imported" for form in forms)),
    **{f"shards: {read.__name__}": (read, (samples.write_build,)) for read in (verify, inspect, merge, audit, train)},
}
