"""Which conventions the frames of a scan contradict: each is tried out on pairs of frames close in time.

Frames close in time look at the same place whatever their poses say, and the angle between two of them is the same with
inverted poses, other camera axes, or turned images. So pairs are chosen by that angle. The right convention lowers the
error of nearly every pair several times, wrong ones of none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from hatch_data.doctor.evidence import Agreement, Lookout, Model, Pair, spread
from hatch_data.doctor.verdicts import Measure, Verdict
from hatch_data.geometry import Array
from hatch_data.recipe import ScanSettings
from hatch_data.repairs import repaired_pose, shifted_poses, turned_from_camera
from hatch_data.scene import Scene

#: Angles that the frames of a pair are turned against each other, in degrees.
ANGLES_DEG = (5.0, 12.0, 22.0)
#: Frames turned further apart than this may see nothing in common.
MOST_DEG = 40.0
#: Frames of a pair are no further apart than this share of the scan.
FURTHEST = 0.15
#: Pairs without which nothing is told.
LEAST_PAIRS = 4
#: What depth may be stored or meant in, per metre: metres, feet, cm, mm, and the units of Matterport, TUM, Replica.
UNITS_PER_METRE = (1.0, 1 / 0.3048, 100.0, 1000.0, 4000.0, 5000.0, 6553.5)
#: Width of the images against that for which intrinsics are given.
SIZES = tuple(
    round(size, 6)
    for size in (1 / 4, 256 / 960, 1 / 3, 3 / 8, 640 / 1296, 1 / 2, 640 / 1024, 2 / 3, 3 / 4, 4 / 5, 5 / 6)
)
#: Frames and seconds by which poses may be off.
SHIFTS, SHIFTS_S = 6, 1.0
#: A repair is believed where it divides the error by exp of this...
LEAST_GAIN = 0.25
#: ... and the frames then agree: error as a share of depth, and share of the points.
GOOD_ERROR, GOOD_SHARE = 0.04, 0.5
#: Share of the points that has to agree with a number that was fitted.
FITTED_SHARE = 0.75
#: Pairs that agree less than this without any repair, in the mean over those that land, are a fault of their own.
CONTRADICTION = 0.3
#: Repairs whose errors differ by less than a factor of exp of this cannot be told apart.
ALIKE = 0.1
#: Depth scales and focal lengths (logarithm) and stamps (seconds) closer to the stated ones than this are calibration,
#: not convention.
CLOSE, CLOSE_S = 0.06, 0.035

#: Setting -> the kind of verdict that proposes it, and what is then said; its value stands in braces.
TOLD = {
    "pose": ("inverted poses", "poses lead from the world to the camera"),
    "camera_axes": ("opengl axes", "camera axes are those of OpenGL: y up, z back"),
    "rotate": (
        "rotated frames",
        "images are turned against their poses; turning them clockwise by {} degrees puts it right",
    ),
    "pose_shift": ("shifted poses", "frame n belongs to the pose of frame n {:+}"),
    "time_shift_s": ("shifted poses", "a frame of stamp t belongs to the pose at t {:+} s (good to some 0.02 s)"),
    "intrinsics_scale": ("intrinsics", "intrinsics are for images of another size"),
    "focal_scale": ("intrinsics", "focal lengths are not those of these images"),
    "depth_is": ("ray distance", "depth is distance along the ray, not along the optical axis"),
    "depth_scale": ("depth scale", "depth is in another unit: {:g} times what is read"),
}


@dataclass(frozen=True)
class Trial:
    """Repairs on trial, as what differs from none, and how well the frames agree with them."""

    fix: dict[str, Any]
    agreement: Agreement


class Bench:
    """Frames of a scan on which repairs are tried: `numbers` says which of the scan's frames the lookout holds."""

    def __init__(self, scene: Scene, lookout: Lookout, numbers: list[int], pairs: list[Pair]):
        self.scene, self.lookout, self.pairs = scene, lookout, pairs
        self._numbers = numbers
        self._few = replace(scene, frames=[scene.frames[k] for k in numbers])
        self.stamped = all(frame.timestamp_s is not None for frame in self._few.frames)

    def model(self, fix: dict[str, Any]) -> Model:
        """What repairs make of the frames."""
        settings = ScanSettings().model_copy(update=fix)
        if settings.time_shift_s:
            poses = list(shifted_poses(self._few, 0, settings.time_shift_s))
        else:
            shifted = shifted_poses(self.scene, settings.pose_shift, 0.0)
            poses = [shifted[k] for k in self._numbers]
        stacked = np.stack([np.full((4, 4), np.nan) if pose is None else pose for pose in poses])
        return model_with(self.lookout.model, settings, stacked)

    def trial(self, fix: dict[str, Any]) -> Trial:
        """Try repairs."""
        return Trial(fix, self.lookout.agreement(self.model(fix), self.pairs))

    def measure(self, trial: Trial) -> Measure:
        """For the report."""
        depth_m = self.lookout.median_depth_m * trial.fix.get("depth_scale", 1.0)
        return Measure(100 * trial.agreement.typical_error * depth_m, trial.agreement.overall)


def choose_pairs(poses: Array, anchors: int) -> list[Pair]:
    """Pairs (source, target) of frames, of which every other one looks back in time; `poses` (n, 4, 4)."""
    count = len(poses)
    if count < 2:
        return []
    furthest = max(1, int(count * FURTHEST))
    pairs: set[Pair] = set()
    for k, first in enumerate(spread(count - 1, anchors).tolist()):
        later = slice(first + 1, first + 1 + furthest)
        cosines = (np.einsum("ij,nij->n", poses[first, :3, :3], poses[later, :3, :3]) - 1) / 2
        angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
        for wanted in ANGLES_DEG:
            reached = np.flatnonzero(angles >= wanted)
            further = int(reached[0] if len(reached) else np.argmax(angles))
            second = first + 1 + further
            if angles[further] <= MOST_DEG:
                pairs.add((first, second) if k % 2 else (second, first))
    return sorted(pairs)


def model_with(model: Model, settings: ScanSettings, poses: Array) -> Model:
    """What the repairs make of a model; `poses` are those of its frames as read, shifted already.

    Turned images are left as they are, and the poses turned instead: the geometry is the same.
    """
    k = model.intrinsics.copy()
    k[:, :2] *= settings.intrinsics_scale * settings.focal_scale
    k[:, 2:] = (k[:, 2:] + 0.5) * settings.intrinsics_scale - 0.5
    turn = turned_from_camera(settings.rotate // 90)
    return Model(repaired_pose(poses, settings) @ turn, k, settings.depth_scale, settings.depth_is == "ray")


def find_repairs(bench: Bench) -> tuple[list[Verdict], dict[str, Any]]:
    """Verdicts on the conventions of a scan, and all repairs together: one after the other as each lowers the error."""
    base = bench.trial({})
    best = base
    if len(bench.pairs) < LEAST_PAIRS:
        return [Verdict("undecided", "overlap", "frames are too far apart to be held against each other")], {}
    for _ in range(3):
        trials = [bench.trial(fix) for fix in _candidates(best.fix, bench.stamped)]
        found = max(trials, key=lambda trial: trial.agreement.gain_over(best.agreement))
        if found.agreement.gain_over(best.agreement) < LEAST_GAIN:
            break
        best = _refined(bench, found, best.fix)
    if not _believable(best, base):
        best = base
    if best is base:
        return [*_contradiction(bench, base), *_blind_scale(bench, base)], {}
    fix = _without_idle_parts(bench, best)
    if not fix:
        return [], {}
    best = bench.trial(fix)
    return [_verdict(bench, key, base, best) for key in fix], fix


def _candidates(at: dict[str, Any], stamped: bool) -> Iterator[dict[str, Any]]:
    """Repairs to try on top of those at hand."""
    poses, axes, turns = ("world_from_camera", "camera_from_world"), ("opencv", "opengl"), (0, 90, 180, 270)
    for pose, camera_axes, rotate in product(poses, axes, turns):
        fix = {"pose": pose, "camera_axes": camera_axes, "rotate": rotate}
        plain = {"pose": poses[0], "camera_axes": axes[0], "rotate": 0}
        yield {**{k: v for k, v in at.items() if k not in plain}, **{k: v for k, v in fix.items() if v != plain[k]}}
    yield {**at, "depth_is": "ray"}
    for scale in [*np.exp(np.arange(-2.0, 2.01, 0.1)), *_known_scales()]:
        yield {**at, "depth_scale": float(scale)}
    for size in SIZES:
        yield {**at, "intrinsics_scale": size}
        yield {**at, "intrinsics_scale": round(1 / size, 6)}
    for focal in np.exp(np.arange(-0.4, 0.41, 0.05)):
        yield {**at, "focal_scale": float(focal)}
    if stamped:
        for seconds in np.arange(-SHIFTS_S, SHIFTS_S + 0.01, 0.05):
            yield {**at, "time_shift_s": round(float(seconds), 3)}
    else:
        for frames in range(-SHIFTS, SHIFTS + 1):
            yield {**at, "pose_shift": frames}


def _refined(bench: Bench, found: Trial, before: dict[str, Any]) -> Trial:
    """The same repair with its number searched more finely, and a known factor where one does as well."""
    key = next((k for k, v in found.fix.items() if before.get(k) != v), "")
    if key == "time_shift_s":
        for step in (0.02, 0.01):
            found = _best(bench, found, [{**found.fix, key: round(found.fix[key] + s, 3)} for s in (-step, step)])
    if key in ("depth_scale", "focal_scale"):
        for step in (0.05, 0.025, 0.012):
            found = _best(bench, found, [{**found.fix, key: found.fix[key] * np.exp(s)} for s in (-step, step)])
        found = Trial({**found.fix, key: round(float(found.fix[key]), 4)}, found.agreement)
    if key == "depth_scale":
        alike = _alike(bench, found)
        # Of several known factors that do as well, the smallest change.
        if known := sorted(_known_within(*alike), key=lambda scale: abs(np.log(scale))):
            return bench.trial({**found.fix, key: known[0]})
    return found


def _best(bench: Bench, found: Trial, others: list[dict[str, Any]]) -> Trial:
    return max((found, *map(bench.trial, others)), key=lambda trial: trial.agreement.gain_over(found.agreement))


def _without_idle_parts(bench: Bench, best: Trial) -> dict[str, Any]:
    """The repairs, less any that does nothing beside the others or is within calibration."""
    fix = dict(best.fix)
    for key in list(fix):
        rest = {k: v for k, v in fix.items() if k != key}
        close = key in ("depth_scale", "focal_scale") and abs(np.log(fix[key])) < CLOSE
        close |= key == "time_shift_s" and abs(fix[key]) < CLOSE_S
        if close or best.agreement.gain_over(bench.trial(rest).agreement) < ALIKE:
            fix = rest
    return fix


def _good(agreement: Agreement) -> bool:
    return agreement.typical_error < GOOD_ERROR and agreement.overall > GOOD_SHARE


def _believable(best: Trial, base: Trial) -> bool:
    """Whether the frames agree once repaired. A number that is no known factor fits much: it must explain more."""
    fitted = "focal_scale" in best.fix or best.fix.get("depth_scale", 1.0) not in (1.0, *_known_scales())
    gain = best.agreement.gain_over(base.agreement)
    return _good(best.agreement) and (not fitted or (best.agreement.overall > FITTED_SHARE and gain > 2 * LEAST_GAIN))


def _known_scales() -> list[float]:
    return sorted({round(a / b, 6) for a, b in product(UNITS_PER_METRE, repeat=2) if a != b})


def _known_within(low: float, high: float) -> list[float]:
    return [scale for scale in _known_scales() if low <= scale <= high]


def _alike(bench: Bench, found: Trial) -> tuple[float, float]:
    """Least and greatest depth scale with which the frames agree as well."""
    middle, ends = float(found.fix.get("depth_scale", 1.0)), []
    for step in (-0.02, 0.02):
        end = 0.0
        while abs(end) < 1.5:
            trial = bench.trial({**found.fix, "depth_scale": middle * np.exp(end + step)})
            if trial.agreement.gain_over(found.agreement) < -ALIKE:
                break
            end += step
        ends.append(middle * float(np.exp(end)))
    return ends[0], ends[1]


def _contradiction(bench: Bench, base: Trial) -> list[Verdict]:
    """A fault without a name: frames that should see the same do not, and nothing that was tried explains it."""
    told = base.agreement.share[base.agreement.landed]
    if len(told) < LEAST_PAIRS or told.mean() >= CONTRADICTION:
        return []
    text = "frames close in time do not see the same surface, and no convention explains it; check poses and depth"
    return [Verdict("fault", "contradiction", text, {}, bench.measure(base))]


def _blind_scale(bench: Bench, base: Trial) -> list[Verdict]:
    """A camera that hardly moves does not tell in what unit depth is."""
    if not _good(base.agreement):
        return []
    low, high = _alike(bench, base)
    if not _known_within(low, high):
        return []
    text = f"the camera hardly moves against the depth: scales from {low:.2f} to {high:.2f} agree alike, so units of "
    return [Verdict("undecided", "depth scale", text + "1/4000 and 1/5000 m cannot be told apart")]


def _verdict(bench: Bench, key: str, base: Trial, best: Trial) -> Verdict:
    value, fix = best.fix[key], best.fix
    kind, text = TOLD[key]
    text = text.format(value)
    if key == "depth_scale":
        low, high = _alike(bench, best)
        others = [f"{scale:g}" for scale in _known_within(low, high) if abs(np.log(scale / value)) > 1e-3]
        if others:
            text += f" (undecided: {', '.join(others)} agree alike, {low:.3g} to {high:.3g})"
    # What the one repair does beside the others.
    without = bench.trial({k: v for k, v in fix.items() if k != key}) if len(fix) > 1 else base
    return Verdict("fault", kind, text, {key: value}, bench.measure(without), bench.measure(best))
