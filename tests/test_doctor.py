"""The doctor: sound scans have no fault, a fault is named with the fix that undoes it, and a build refuses it.

Ten faults in each of six scans are tried by `benchmarks/doctor.py`; here they are put into one small scan.
"""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
import yaml
from click.testing import CliRunner
from PIL import Image
from scipy import ndimage
from scipy.spatial.transform import Rotation, Slerp

from hatch_data.cli import main
from hatch_data.doctor import appearance, examine, refusal
from hatch_data.doctor.alignment import misfit
from hatch_data.doctor.conventions import choose_pairs
from hatch_data.doctor.evidence import Lookout
from hatch_data.doctor.trajectory import follow, ranges
from hatch_data.doctor.verdicts import Diagnosis, Verdict, composed, set_flags
from hatch_data.errors import ScanError
from hatch_data.geometry import rigid
from hatch_data.recipe import DataRecipe, ScanSettings
from hatch_data.repairs import repair
from hatch_data.scans import find, synthetic
from hatch_data.scene import Scene
from hatch_data.settings import load
from hatch_data.views import prepare
from tests import faults
from tests.layouts import room, seven_scenes


@pytest.fixture(scope="module")
def sound() -> Scene:
    return faults.held(synthetic.make(3, frames=40, width=160, height=120).scene())


def test_a_sound_scan_has_no_fault(sound):
    found = examine(sound).diagnosis
    assert (found.grade, found.exit_code, found.verdicts, found.recipe()) == ("sound", 0, [], "")
    assert found.overall.agreement > 0.9


@pytest.mark.parametrize("number", [0, 4, 5, 7, 9])
def test_a_fault_is_named_and_undone(sound, number):
    _, inject = faults.ten(sound, 2)[number]
    injected = inject()
    found = examine(injected.scene).diagnosis
    assert [fault.kind for fault in found.faults] == [injected.kind]
    assert (found.grade, found.exit_code) == ("faulty", 1)
    assert faults.undoes(found, injected)
    flags = shlex.split(set_flags(found.faults[0].fix))
    assert load(DataRecipe, None, [flag for flag in flags if flag != "--set"]).scan == found.settings


@pytest.mark.parametrize("number", range(7))
def test_a_build_refuses_wrong_conventions_in_one_line(sound, number):
    injected = faults.ten(sound, 2)[number][1]()
    views = [prepare(frame) for frame in injected.scene.frames]
    told = refusal(injected.scene, injected.scene.frames, views)
    assert told is not None
    assert "\n" not in told
    for key, value in injected.fix.items():
        assert f"scans.{sound.id}.{key}={round(value, 6) if isinstance(value, float) else value}" in told


def test_the_fix_gives_the_maps_of_the_clean_scan_back(sound):
    injected = faults.along_ray(faults.scaled(sound, 0.2).scene)
    found = examine(injected.scene).diagnosis
    assert {fault.kind for fault in found.faults} == {"ray distance", "depth scale"}
    pairs = faults.some_pairs(sound, 6)
    assert faults.map_difference(sound, injected.scene, pairs) > 0.3
    assert faults.map_difference(sound, repair(injected.scene, found.settings), pairs) < 0.01


def test_frames_that_see_nothing_in_common_are_not_judged(sound):
    frames = sound.frames[::8]
    assert refusal(sound, frames, [prepare(frame) for frame in frames]) is None
    assert [v.weight for v in examine(replace(sound, frames=frames)).diagnosis.verdicts] == ["undecided"]


def test_contradicting_frames_without_explanation_are_unusable(sound):
    """The frames of a walk, said to be those of a camera that hardly moves and never turns."""
    still = [
        replace(frame, world_from_camera=rigid(np.eye(3), (0.01 * k, 0.003 * k, 0.001 * k)))
        for k, frame in enumerate(sound.frames)
    ]
    found = examine(replace(sound, frames=still)).diagnosis
    assert (found.grade, found.exit_code) == ("unusable", 2)


def test_a_single_frame_is_told(sound):
    with pytest.raises(ScanError, match="at least 2"):
        examine(replace(sound, frames=sound.frames[:1]))


def test_alignment_measures_how_far_a_pose_is_off(sound):
    views = [prepare(frame) for frame in sound.frames[10:12]]
    lookout = Lookout(views)
    assert misfit(lookout, lookout.model, 0, 1).moved_m < 0.01
    off = lookout.model.poses.copy()
    off[0, :3, 3] += (0.06, -0.05, 0.04)
    found = misfit(lookout, lookout.model._replace(poses=off), 0, 1)
    assert found.moved_m == pytest.approx(np.linalg.norm((0.06, 0.05, 0.04)), rel=0.25)
    assert found.after > found.before


def test_lost_poses_are_the_injected_ones(sound):
    injected = faults.jumping(sound, seed=1)
    lookout = Lookout([prepare(frame) for frame in injected.scene.frames])
    ids = [frame.id for frame in sound.frames]
    walk = follow(lookout, lookout.model, ids)
    assert {name for name, lost in zip(ids, walk.lost, strict=True) if lost} == set(injected.fix["skip"])


def test_pairs_look_both_ways_and_turn_little(sound):
    poses = np.stack([frame.world_from_camera for frame in sound.frames])
    pairs = choose_pairs(poses, 20)
    assert {np.sign(b - a) for a, b in pairs} == {-1, 1}
    assert choose_pairs(np.linalg.inv(poses), 20) == pairs
    assert choose_pairs(poses[:1], 20) == []


def test_the_width_of_blurred_edges_is_measured():
    step = np.kron(np.indices((6, 8)).sum(axis=0) % 2, np.ones((40, 40))) * 200.0
    sharp = ndimage.gaussian_filter(step, 0.4).astype(np.float32)
    for blur_px in (1.0, 1.5, 2.0):
        width = appearance.edge_width(ndimage.gaussian_filter(step, blur_px).astype(np.float32))
        assert width == pytest.approx(blur_px, rel=0.15)
        assert width > appearance.BLURRED_PX > appearance.edge_width(sharp)
    assert np.isnan(appearance.edge_width(np.full((240, 320), 90, np.float32)))


def test_dark_empty_and_hollow_frames_are_notes():
    def look(**changes):
        plain = appearance.Look(np.zeros((2, 2, 3), np.float32), 0.3, 0.5, 40.0, 0.9)
        return replace(plain, **changes)

    looks = [look()] * 16 + [look(brightness=0.02), look(contrast=1.0), look(valid_depth=0.01), None]
    found = appearance.judge(looks, [f"{k:02d}" for k in range(20)])
    assert {(v.weight, v.kind, v.fix["skip"][0]) for v in found} == {
        ("note", "dark frames", "16"),
        ("note", "empty frames", "17"),
        ("note", "frames without depth", "18"),
        ("note", "unreadable colour", "19"),
    }


def test_ranges_of_ids():
    assert ranges(list("abcdef"), np.array([1, 0, 1, 1, 1, 0], bool)) == ["a", "c..e"]


def test_fixes_add_to_those_at_hand():
    both = composed(
        ScanSettings(pose="camera_from_world", depth_scale=2, rotate=270, skip=("a",)),
        {"pose": "camera_from_world", "depth_scale": 2.5, "rotate": 180, "skip": ["b..c"]},
    )
    assert both == ScanSettings(depth_scale=5, rotate=90, skip=("a", "b..c"))


def test_notes_are_offered_as_comments():
    note = Verdict("note", "dark frames", "1 of 9 frames: dark", {"skip": ["3"]})
    found = Diagnosis("s", "tum", 9, 9, [note], ScanSettings(depth_scale=2.0))
    assert yaml.safe_load(found.recipe()) == {"scan": {"depth_scale": 2.0}}
    assert "# scan:" in found.recipe()
    assert (found.grade, found.exit_code) == ("sound", 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A sound scan and one whose poses are inverted, on disk."""
    folder = tmp_path_factory.mktemp("scans")
    poses = {n: pose for n, pose in room.walk(40).items() if n < 8}
    slow = {n: _slowed(poses[0], poses[2], n / 8) for n in range(8)}
    seven_scenes.write(folder / "good", slow)
    shutil.copytree(folder / "good", folder / "inverted")
    for path in (folder / "inverted").glob("*.pose.txt"):
        path.write_text(room.matrix_text(np.linalg.inv(np.loadtxt(path))))
    return folder


def _slowed(first: np.ndarray, last: np.ndarray, share: float) -> np.ndarray:
    turned = Slerp([0, 1], Rotation.from_matrix([first[:3, :3], last[:3, :3]]))(share).as_matrix()
    return rigid(turned, (1 - share) * first[:3, 3] + share * last[:3, 3])


def run(*words: object):
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_command_tells_fixes_and_draws(folder, tmp_path):
    before = sorted(path.name for path in (folder / "inverted").iterdir())
    done = run("doctor", folder / "inverted", "--out", tmp_path / "out")
    assert done.exit_code == 1, done.output
    assert "fault: inverted poses" in done.output
    assert "--set scan.pose=camera_from_world" in done.output
    assert all(len(line) <= 80 for line in done.output.splitlines() if "wrote" not in line)
    for name in ("overlay.png", "trajectory.png"):
        with Image.open(tmp_path / "out" / name) as image:
            assert image.width > 400
    recipe = load(DataRecipe, tmp_path / "out" / "recipe.yaml")
    assert recipe.scan == ScanSettings(pose="camera_from_world")
    assert sorted(path.name for path in (folder / "inverted").iterdir()) == before
    fixed = run(
        "doctor", folder / "inverted", "--set", "scan.pose=camera_from_world", "--out", tmp_path / "again", "--json"
    )
    assert fixed.exit_code == 0, fixed.output
    assert json.loads(fixed.output)[0]["grade"] == "sound"


def test_nothing_is_written_into_a_scan(folder, tmp_path):
    done = run("doctor", folder / "good", "--out", folder / "good" / "doctor")
    assert done.exit_code == 2
    assert "inside the scan" in done.output


def test_an_unreadable_scan_is_unusable_and_the_others_are_told(folder, tmp_path):
    scans = tmp_path / "scans"
    shutil.copytree(folder / "good", scans / "good")
    shutil.copytree(folder / "good", scans / "broken")
    for path in (scans / "broken").glob("*.pose.txt"):
        path.write_text("-inf " * 16)
    done = run("doctor", scans, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "broken: unusable" in done.output
    assert "good (7scenes, 8 frames): sound" in done.output


def test_a_build_refuses_the_scan_and_goes_on(folder, tmp_path):
    done = run("build", "-s", folder, "-o", tmp_path / "out", "--workers", 1)
    assert done.exit_code == 1, done.output
    manifest = json.loads((tmp_path / "out" / "build.json").read_text())["scenes"]
    assert manifest["good"]["failure"] is None
    assert "scans.inverted.pose=camera_from_world" in manifest["inverted"]["failure"]
    fix = "scans.inverted.pose=camera_from_world"
    fixed = run("build", "-s", folder, "-o", tmp_path / "fixed", "--workers", 1, "--set", fix)
    assert fixed.exit_code == 0, fixed.output


@pytest.mark.parametrize(
    ("name", "notes"),
    [("redkitchen-7scenes", ["registration"]), ("fr1-rpy-tum", ["blurred frames"]), ("livingroom1-redwood", [])],
)
def test_real_scans_have_no_fault_and_the_notes_that_are_true(shared, name, notes):
    scene = find([str(shared / "scans" / name)])[0].load()
    # The first frames of each are enough for every verdict, and quick.
    found = examine(replace(scene, frames=scene.frames[:50])).diagnosis
    assert found.faults == []
    assert [verdict.kind for verdict in found.verdicts if verdict.weight == "note"] == notes


def test_depth_from_a_mesh_is_judged_by_colour(tmp_path):
    """What a mesh shows always agrees with itself, so inverted poses show only against colour."""
    made = synthetic.make(1, frames=16, width=160, height=120)
    boxes = made.furnished.boxes
    parts = []
    for k, (center, half) in enumerate(zip(boxes.center, boxes.half, strict=True)):
        parts.append(trimesh.creation.box(2 * half, rigid(boxes.world_from_local(np.array(k)), center)))
    trimesh.util.concatenate(parts).export(tmp_path / "rooms.ply")
    scene = made.scene()
    frames = [replace(frame, read_depth=None) for frame in scene.frames]
    meshed = replace(scene, frames=frames, mesh=tmp_path / "rooms.ply")
    assert examine(meshed).diagnosis.faults == []
    found = examine(repair(meshed, ScanSettings(pose="camera_from_world"))).diagnosis
    assert [(fault.kind, fault.fix) for fault in found.faults] == [("inverted poses", {"pose": "camera_from_world"})]
