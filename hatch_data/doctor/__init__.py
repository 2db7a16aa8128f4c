"""What is wrong with a scan, found from the scan itself: its frames must see the same surfaces.

    Scene -> Views -> conventions (poses, axes, depth, intrinsics) -> trajectory (lost poses, drift)
                   -> registration of colour and depth, appearance of frames -> Diagnosis

`examine` is the whole of it, `refusal` the cheap part that every build runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hatch_data.depth_source import with_depth
from hatch_data.doctor import appearance, registration, rendered
from hatch_data.doctor.conventions import Bench, choose_pairs, find_repairs
from hatch_data.doctor.evidence import Lookout, Model, spread
from hatch_data.doctor.trajectory import follow
from hatch_data.doctor.verdicts import Diagnosis, Verdict, composed, set_flags
from hatch_data.errors import FrameError, ScanError
from hatch_data.geometry import Array
from hatch_data.recipe import ScanSettings
from hatch_data.repairs import repair
from hatch_data.scene import Frame, Scene
from hatch_data.views import View, ViewStore, prepare

#: Frames that are looked at, spread over the scan; ends of the pairs that conventions are tried on.
FRAMES, ANCHORS = 240, 20
#: The same for the check in a build, and the points of a frame that are carried in it.
QUICK_ANCHORS, QUICK_POINTS = 8, 400
#: Frames of which colour is laid over depth.
REGISTRATION_FRAMES = 30


@dataclass(frozen=True)
class Examination:
    """A diagnosis and what it rests on, for pictures. `frames` and `views` are those looked at, `read` what is believed
    of them as read, `model` with the repairs, `lost` which of them are lost, `up` the scan's, stated or estimated."""

    diagnosis: Diagnosis
    frames: list[Frame]
    views: list[View]
    read: Model
    model: Model
    lost: list[bool]
    up: Array
    up_is_stated: bool


def examine(scene: Scene, settings: ScanSettings | None = None) -> Examination:
    """Look at a scan, with the repairs in `settings` applied to it. Raises `ScanError` where it cannot be read."""
    settings = settings or ScanSettings()
    unmeasured = repair(scene, settings)
    if unmeasured.frames[0].read_depth is None:
        verdicts, fix = rendered.find_repairs(unmeasured)
        if fix:
            # Depth is rendered from the poses: all else is told from what the right ones render.
            right = examine(scene, composed(settings, fix))
            told = replace(right.diagnosis, verdicts=_ranked(verdicts + right.diagnosis.verdicts))
            return replace(right, diagnosis=told)
    scene = with_depth(unmeasured, "auto")
    numbers, views, unreadable = _read(scene)
    frames = [scene.frames[k] for k in numbers]
    if len(views) < 2:
        raise ScanError(
            f"{scene.id}: {len(views)} frames with readable depth of {len(scene.frames)}; at least 2 are needed"
        )
    ids = [frame.id for frame in frames]
    lookout = Lookout(views)
    pairs = choose_pairs(lookout.model.poses, ANCHORS)
    bench = Bench(scene, lookout, numbers, pairs)
    verdicts, fix = find_repairs(bench)
    model = bench.model(fix)
    contradicted = any(verdict.kind == "contradiction" for verdict in verdicts)
    lost = np.zeros(len(frames), bool)
    if not contradicted:
        walk = follow(lookout, model, ids, len(scene.frames) / len(frames))
        lost = walk.lost
        if walk.verdicts:
            verdicts = [verdict for verdict in verdicts if verdict.weight != "undecided"]
        verdicts += walk.verdicts
    looks = [_look(frame, view) for frame, view in zip(frames, views, strict=True)]
    verdicts += _registration(unmeasured, fix, frames, views, looks)
    verdicts += appearance.judge(looks, ids) + _dropped(scene, unreadable)
    for verdict in verdicts:
        if verdict.weight == "fault":
            settings = composed(settings, verdict.fix)
    diagnosis = Diagnosis(
        scene.id,
        scene.layout,
        len(scene.frames),
        len(frames),
        _ranked(verdicts),
        settings,
        bench.measure(bench.trial(fix)),
    )
    return Examination(
        diagnosis, frames, views, lookout.model, model, lost.tolist(), scene.up, scene.up_source == "layout"
    )


def refusal(scene: Scene, frames: Sequence[Frame], views: Sequence[View] | ViewStore) -> str | None:
    """The cheap part, for a build: why a scan is refused, in one line, or None. `views` are those of `frames`."""
    pairs = choose_pairs(np.stack([frame.world_from_camera for frame in frames]), QUICK_ANCHORS)
    used = sorted({k for pair in pairs for k in pair})
    if not used:
        return None
    place = {k: n for n, k in enumerate(used)}
    few = [(place[a], place[b]) for a, b in pairs]
    shown = replace(scene, frames=list(frames))
    bench = Bench(shown, Lookout([views[k] for k in used], QUICK_POINTS), used, few)
    faults = [verdict for verdict in find_repairs(bench)[0] if verdict.weight == "fault"]
    if not faults:
        return None
    told = "; ".join(fault.text for fault in faults)
    flags = " ".join(set_flags(fault.fix, f"scans.{scene.id}") for fault in faults if fault.fix)
    agree = f"frames agree by {faults[0].before.agreement:.2f}" if faults[0].before else "frames disagree"
    if faults[0].after:
        agree += f", {faults[0].after.agreement:.2f} with {flags}"
    return f"{scene.id}: {told} ({agree}); see hatch-data doctor, or build it as it is with --set scan.check=false"


def _read(scene: Scene) -> tuple[list[int], list[View], list[str]]:
    """Numbers and views of frames spread over the scan, and the ids of those whose depth cannot be read."""
    numbers, views, unreadable = [], [], []
    for k in spread(len(scene.frames), FRAMES).tolist():
        try:
            views.append(prepare(scene.frames[k]))
            numbers.append(k)
        except FrameError:
            unreadable.append(scene.frames[k].id)
    return numbers, views, unreadable


def _look(frame: Frame, view: View) -> appearance.Look | None:
    """None where colour cannot be read: told as a note."""
    try:
        return appearance.look(frame, float((view.raster != 0).mean()))
    except FrameError:
        return None


def _registration(
    unmeasured: Scene,
    fix: dict[str, Any],
    frames: list[Frame],
    views: list[View],
    looks: list[appearance.Look | None],
) -> list[Verdict]:
    """Colour against depth, once conventions are put right: without, depth carried over to colour lands anywhere.
    Turned images stay as they are: colour and depth turn together."""
    some = spread(len(views), REGISTRATION_FRAMES)
    chosen = {frames[k].id: (views[k], seen.color) for k in some if (seen := looks[k]) is not None}
    if still := {key: value for key, value in fix.items() if key != "rotate"}:
        repaired = with_depth(repair(unmeasured, ScanSettings().model_copy(update=still)), "auto")
        chosen = {f.id: (prepare(f), chosen[f.id][1]) for f in repaired.frames if f.id in chosen}
    found = [registration.outlines(color, view) for view, color in chosen.values()]
    off = registration.judge([outline for outline in found if outline is not None], frames[0].camera)
    return off or registration.note(frames[0])


def _dropped(scene: Scene, unreadable: list[str]) -> list[Verdict]:
    """Notes on what the reader left out, and on depth that cannot be read."""
    lost = {reason: len(ids) for reason, ids in scene.dropped.items() if reason not in ("skipped", "no_pose_at_shift")}
    if unreadable:
        lost["unreadable_depth"] = lost.get("unreadable_depth", 0) + len(unreadable)
    told = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in sorted(lost.items()))
    return [Verdict("note", "dropped frames", f"left out when reading: {told}")] if told else []


def _ranked(verdicts: list[Verdict]) -> list[Verdict]:
    order = ("fault", "undecided", "note")
    return sorted(verdicts, key=lambda verdict: order.index(verdict.weight))
