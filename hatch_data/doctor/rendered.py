"""Conventions of a scan without depth of its own: what is rendered from a mesh always agrees with itself, whatever the
poses. What tells is colour: outlines of the rendered depth lie on edges of the images only where poses are right.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from hatch_data.depth_source import with_depth
from hatch_data.doctor import appearance, registration
from hatch_data.doctor.conventions import TOLD
from hatch_data.doctor.evidence import spread
from hatch_data.doctor.verdicts import Verdict
from hatch_data.errors import FrameError, ScanError
from hatch_data.recipe import ScanSettings
from hatch_data.repairs import repair
from hatch_data.scene import Scene
from hatch_data.views import prepare

#: Frames that are rendered for every trial.
FRAMES = 12
#: Gradients under the outlines, in deviations, have to grow by this much and by this factor.
LEAST_GAIN, LEAST_FACTOR = 0.3, 2.0


def find_repairs(scene: Scene) -> tuple[list[Verdict], dict[str, Any]]:
    """Verdicts on the poses of a scan with a mesh and no depth, and the repairs."""
    wanted = {scene.frames[k].id for k in spread(len(scene.frames), FRAMES)}
    strengths: dict[tuple[str, str], float] = {}
    for pose, axes in product(("world_from_camera", "camera_from_world"), ("opencv", "opengl")):
        strengths[pose, axes] = _strength(scene, ScanSettings(pose=pose, camera_axes=axes), wanted)
    here = strengths["world_from_camera", "opencv"]
    (pose, axes), best = max(strengths.items(), key=lambda item: item[1])
    if best < here + LEAST_GAIN or best < LEAST_FACTOR * here:
        return [], {}
    fix = {"pose": pose} if pose != "world_from_camera" else {}
    if axes != "opencv":
        fix["camera_axes"] = axes
    told = f"outlines of the mesh meet gradients of {here:.2f} deviations in the images, {best:.2f} with the fix"
    return [Verdict("fault", TOLD[key][0], told, {key: value}) for key, value in fix.items()], fix


def _strength(scene: Scene, settings: ScanSettings, wanted: set[str]) -> float:
    """Mean gradient of colour under the outlines of what is rendered; 0 where hardly anything is."""
    found = []
    try:
        posed = with_depth(repair(scene, settings), "auto")
    except ScanError:
        return 0.0
    for frame in posed.frames:
        if frame.id not in wanted:
            continue
        try:
            outlines = registration.outlines(appearance.decoded(frame.read_color(), frame.id), prepare(frame))
        except FrameError:
            continue
        if outlines is not None:
            found.append(outlines)
    return registration.strength(found).strength if len(found) >= FRAMES // 4 else 0.0
