"""Every claim of a row, falsified on purpose: `verify` has to name the check that catches it, and nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image, ImageOps

from hatch_data import verify as verification
from hatch_data.actions import ActionLanguage, encode, format_pairs, parse_text, to_json, to_text
from hatch_data.cli import main
from hatch_data.errors import ShardError
from hatch_data.motion import motion_between
from hatch_data.patches import FLOW_CODE, FLOW_STEPS, FlowField, rebin
from hatch_data.shards import MANIFEST, SCHEMA, shard_files
from hatch_data.verify import Report, verify
from tests.builds import build_small
from tests.layouts import redwood, room
from tests.tags import tagged

Record = dict[str, Any]
SCENES = "synthetic:1"


@pytest.fixture(scope="module")
def build(tmp_path_factory) -> Path:
    """Twelve rows of one scene, two or more of each family, in one shard."""
    out = tmp_path_factory.mktemp("verify") / "build"
    build_small(out, SCENES, "split.validation=0", "forms={choice: 1}", limit=12)
    return out


def falsified(build: Path, out: Path, change: Callable[[list[Record]], object], sign: bool = True) -> Path:
    """A copy of a build with its records changed; `sign` makes the manifest's checksum fit again."""
    shutil.copytree(build, out)
    (shard,) = shard_files(out)
    records = pq.read_table(shard).to_pylist()
    change(records)
    pq.write_table(pa.Table.from_pylist(records, SCHEMA), shard)
    if sign:
        manifest = json.loads((out / MANIFEST).read_text())
        (scene,) = manifest["scenes"].values()
        scene["shards"][0]["sha256"] = hashlib.sha256(shard.read_bytes()).hexdigest()
        (out / MANIFEST).write_text(json.dumps(manifest))
    return out


def caught(report: Report) -> set[str]:
    return {one.check for one in report.disagreements}


def pose(record: Record, image: int) -> np.ndarray:
    return np.array(record["world_from_camera"][image]).reshape(4, 4)


def set_pose(record: Record, image: int, matrix: np.ndarray) -> None:
    record["world_from_camera"][image] = matrix.ravel().tolist()


def say(record: Record, text: str) -> None:
    """Let the row claim other actions, everywhere."""
    actions = parse_text(text)
    record["actions"][0] |= {"text": text, "json": to_json(actions)}
    reply(record, record["answer"])


def reply(record: Record, answer: str) -> None:
    record["answer"] = answer
    block = format_pairs([(0, 1, parse_text(record["actions"][0]["text"]))])
    record["messages"][1]["content"] = f"<action>{block}</action><answer>{answer}</answer>"


def other_letter(record: Record) -> None:
    letters = "ABCD"[: len(record["options"])]
    reply(record, letters[(letters.index(record["answer"]) + 1) % len(letters)])


def flow(record: Record, k: int = 0) -> np.ndarray:
    match = record["matches"][k]
    return np.frombuffer(match["flow"], "<u2").reshape(*match["flow_size"], 2).copy()


def set_flow(record: Record, values: np.ndarray, k: int = 0) -> None:
    record["matches"][k]["flow"] = values.astype("<u2").tobytes()


# What is falsified in one row


def turned_pose(record: Record) -> None:
    turned = pose(record, 1)
    sine, cosine = np.sin(np.radians(0.5)), np.cos(np.radians(0.5))
    turned[:3, :3] = turned[:3, :3] @ np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    set_pose(record, 1, turned)


def moved_pose(record: Record) -> None:
    moved = pose(record, 1)
    moved[:3, 3] += 0.3 * moved[:3, 1]
    set_pose(record, 1, moved)


def inverted_poses(record: Record) -> None:
    for k in (0, 1):
        set_pose(record, k, np.linalg.inv(pose(record, k)))


def poses_of_opengl(record: Record) -> None:
    for k in (0, 1):
        set_pose(record, k, pose(record, k) @ np.diag([1.0, -1, -1, 1]))


def mirrored_pose(record: Record) -> None:
    set_pose(record, 0, pose(record, 0) @ np.diag([-1.0, 1, 1, 1]))


def tilted_up(record: Record) -> None:
    record["up"] = [0.0, float(np.sin(0.5)), float(np.cos(0.5))]


def swapped_images(record: Record) -> None:
    record["images"].reverse()


def shifted_flow(record: Record) -> None:
    set_flow(record, np.roll(flow(record), 2, axis=0))


def transposed_flow(record: Record) -> None:
    values = flow(record)
    seen = values[..., 0] < FLOW_CODE
    values[seen] = values[seen][:, ::-1]
    set_flow(record, values)


def flow_along_its_lines(record: Record) -> None:
    """As if all that is seen lay 9 m away: vectors stay on their epipolar lines, and the map follows."""
    values = flow(record)
    rows, columns = values.shape[:2]
    (height, width), (fx, fy, cx, cy) = record["image_sizes"][0], record["intrinsics"][0]
    r, c = np.nonzero(values[..., 0] < FLOW_CODE)
    rays = np.stack([((c + 0.5) / columns * width - 0.5 - cx) / fx, ((r + 0.5) / rows * height - 0.5 - cy) / fy], -1)
    rays = np.concatenate([rays, np.ones((len(r), 1))], -1)
    points = 9.0 * rays @ pose(record, 0)[:3, :3].T + pose(record, 0)[:3, 3]
    there = (points - pose(record, 1)[:3, 3]) @ pose(record, 1)[:3, :3]
    fx, fy, cx, cy = record["intrinsics"][1]
    height, width = record["image_sizes"][1]
    x = (there[:, 0] / there[:, 2] * fx + cx + 0.5) / width
    y = (there[:, 1] / there[:, 2] * fy + cy + 0.5) / height
    inside = (there[:, 2] > 0) & (x > 0) & (x < 1) & (y > 0) & (y < 1)
    values[r[inside], c[inside]] = np.rint(np.stack([x, y], -1)[inside] * 60000)
    set_flow(record, values)
    match = record["matches"][0]
    again = rebin(FlowField(values), tuple(match["source_grid"]), tuple(match["target_grid"]))
    for name in ("source_patch", "target_patch", "weight", "valid", "visibility"):
        match[name] = getattr(again, name).tolist()


def unknown_flow_code(record: Record) -> None:
    values = flow(record)
    values[0, 0] = (FLOW_CODE + 9, 0)
    set_flow(record, values)


def action_off_by_a_step(record: Record) -> None:
    actions = parse_text(record["actions"][0]["text"])
    verb, value = actions[-1]
    step = 5.0 if verb.startswith(("turn", "roll")) else 0.1
    say(record, to_text([*actions[:-1], (verb, round(value + step, 6))]))


def opposite_turn(record: Record) -> bool | None:
    text = record["actions"][0]["text"]
    if not any(verb in ("turn_left", "turn_right") and value < 180 for verb, value in parse_text(text)):
        return False
    say(record, text.replace("turn_left", "turn_LEFT").replace("turn_right", "turn_left").replace("_LEFT", "_right"))
    return None


def action_in_two_parts(record: Record) -> bool | None:
    actions = parse_text(record["actions"][0]["text"])
    k = next((k for k, (verb, value) in enumerate(actions) if verb.startswith("turn") and value > 5), None)
    if k is None:
        return False
    verb, value = actions[k]
    say(record, to_text([*actions[:k], (verb, 5.0), (verb, value - 5), *actions[k + 1 :]]))
    return None


def json_says_else(record: Record) -> None:
    record["actions"][0]["json"] = '[{"move_up_m": 0.5}]'


def broken_action(record: Record) -> None:
    record["actions"][0]["text"] = "walk_forward 1m"


def cut_image(record: Record) -> None:
    record["images"][0]["bytes"] = record["images"][0]["bytes"][:-2000]


def set_image(record: Record, k: int, change: Callable[[Image.Image], Image.Image]) -> None:
    buffer = io.BytesIO()
    change(Image.open(io.BytesIO(record["images"][k]["bytes"]))).save(buffer, "JPEG", quality=95)
    record["images"][k]["bytes"] = buffer.getvalue()


def tagged_image(record: Record) -> None:
    data = record["images"][0]["bytes"]
    record["images"][0]["bytes"] = tagged(data, 6)


def smaller_image(record: Record) -> None:
    set_image(record, 0, lambda image: image.resize((160, 120)))


def negative_image(record: Record) -> bool | None:
    if min((flow(record, k)[..., 0] < FLOW_CODE).sum() for k in (0, 1)) < 300:
        return False
    set_image(record, 1, ImageOps.invert)
    return None


def other_focal_length(record: Record) -> None:
    for k in (0, 1):
        fx, fy, cx, cy = record["intrinsics"][k]
        record["intrinsics"][k] = [fx * 1.03, fy * 1.03, cx, cy]


def exchanged_intrinsics(record: Record) -> None:
    fx, fy, cx, cy = record["intrinsics"][0]
    record["intrinsics"][0] = [cx, cy * 0.5, fx * 9, fy]


def heavier_weight(record: Record) -> None:
    record["matches"][0]["weight"][0] = 1.5


def sums_above_one(record: Record) -> None:
    match = record["matches"][0]
    match["weight"] = [1.0] * len(match["weight"])


def halved_weights(record: Record) -> None:
    for match in record["matches"]:
        match["weight"] = [weight / 2 for weight in match["weight"]]


def map_upside_down(record: Record) -> None:
    match = record["matches"][1]
    patches = match["target_grid"][0] * match["target_grid"][1]
    match["target_patch"] = [patches - 1 - patch for patch in match["target_patch"]]
    order = sorted(range(len(match["weight"])), key=lambda k: (match["source_patch"][k], match["target_patch"][k]))
    for name in ("source_patch", "target_patch", "weight"):
        match[name] = [match[name][k] for k in order]


def patch_outside(record: Record) -> None:
    record["matches"][0]["source_patch"][-1] = 60000


def unsorted_patches(record: Record) -> None:
    for name in ("source_patch", "target_patch", "weight"):
        record["matches"][0][name].reverse()


def all_called_occluded(record: Record) -> bool | None:
    match = record["matches"][0]
    if match["visibility"].count(0) < 30:
        return False
    match["visibility"] = [1] * len(match["visibility"])
    return None


def all_called_visible(record: Record) -> bool | None:
    match = record["matches"][0]
    if len(set(match["source_patch"])) == len(match["visibility"]):
        return False
    match["visibility"] = [0] * len(match["visibility"])
    return None


def negative_valid(record: Record) -> None:
    record["matches"][0]["valid"][3] = -0.1


def other_grid(record: Record) -> None:
    for match in record["matches"]:
        for name in ("source_grid", "target_grid"):
            match[name] = match[name][::-1]


def one_map_missing(record: Record) -> None:
    record["matches"].pop()


def no_letter(record: Record) -> None:
    reply(record, "E" if record["options"] else "")


def option_of_none(record: Record) -> None:
    if record["options"]:
        record["options"][0] = "nowhere"
    else:
        record["options"] = ["nowhere"]


def other_question(record: Record) -> None:
    record["question"] += " "


def image_mark_missing(record: Record) -> None:
    record["messages"][0]["content"] = record["messages"][0]["content"].replace("<image>", "", 1)


def reply_without_actions(record: Record) -> None:
    record["messages"][1]["content"] = record["answer"]


def chat_answers_else(record: Record) -> None:
    record["messages"][1]["content"] = record["messages"][1]["content"].replace("</answer>", "!</answer>")


def pose_missing(record: Record) -> None:
    record["world_from_camera"].pop()


def flow_too_short(record: Record) -> None:
    record["matches"][0]["flow"] = record["matches"][0]["flow"][:-4]


#: What is changed, and the checks that have to catch it.
FALSIFICATIONS: list[tuple[Any, ...]] = [
    (turned_pose, "epipolar geometry"),
    (moved_pose, "actions lead there", "epipolar geometry"),
    (inverted_poses, "actions lead there", "epipolar geometry"),
    (poses_of_opengl, "epipolar geometry"),
    (mirrored_pose, "poses"),
    (tilted_up, "actions lead there"),
    (swapped_images, "matches look alike"),
    (negative_image, "matches look alike"),
    (shifted_flow, "epipolar geometry"),
    (transposed_flow, "epipolar geometry"),
    (unknown_flow_code, "columns"),
    (action_off_by_a_step, "actions lead there"),
    (opposite_turn, "actions lead there"),
    (action_in_two_parts, "actions canonical"),
    (json_says_else, "actions canonical", "messages"),
    (broken_action, "actions canonical"),
    (cut_image, "images"),
    (tagged_image, "images"),
    (smaller_image, "images"),
    (other_focal_length, "epipolar geometry"),
    (exchanged_intrinsics, "intrinsics"),
    (heavier_weight, "patches and weights"),
    (sums_above_one, "patches and weights"),
    (halved_weights, "map fits flow"),
    (map_upside_down, "map fits flow"),
    (patch_outside, "columns"),
    (unsorted_patches, "patches and weights"),
    (all_called_occluded, "codes fit weights"),
    (all_called_visible, "codes fit weights"),
    (negative_valid, "patches and weights"),
    (other_grid, "grids"),
    (one_map_missing, "grids"),
    (no_letter, "form"),
    (option_of_none, "form"),
    (other_question, "id"),
    (image_mark_missing, "messages"),
    (reply_without_actions, "messages"),
    (chat_answers_else, "messages"),
    (pose_missing, "columns"),
    (flow_too_short, "columns"),
]


def test_untouched_builds_agree(build, small_build):
    for folder in (build, small_build):
        report = verify(folder)
        assert [str(one) for one in report.disagreements] == []
        assert report.rows == report.checked["epipolar geometry"] > 0
    assert {"answer: camera_motion", "answer: camera_position", "answer: patch_match"} <= set(report.checked)


@pytest.mark.parametrize("case", FALSIFICATIONS, ids=lambda case: case[0].__name__)
def test_a_false_row_is_caught(build, tmp_path, case):
    change, *checks = case
    names: list[str] = []

    def wherever_it_makes_a_difference(records: list[Record]) -> None:
        names.extend(record["id"] for record in records if change(record) is not False)

    report = verify(falsified(build, tmp_path / "false", wherever_it_makes_a_difference))
    assert len(names) >= 3
    assert {one.where for one in report.disagreements} == set(names)
    for check in checks:
        assert {one.where for one in report.disagreements if one.check == check} == set(names)


def test_a_false_surface_is_caught_by_the_way_back(build, tmp_path):
    def change(records: list[Record]) -> None:
        for record in records:
            if np.linalg.norm(pose(record, 0)[:3, 3] - pose(record, 1)[:3, 3]) > 1:
                before = flow(record)
                flow_along_its_lines(record)
                moved = np.abs(before.astype(int) - flow(record)).max(axis=-1) > 0.02 * FLOW_STEPS
                if moved[before[..., 0] < FLOW_CODE].mean() > 0.7:
                    names.append(record["id"])

    names: list[str] = []
    report = verify(falsified(build, tmp_path / "false", change))
    assert len(names) >= 3
    assert set(names) <= {one.where for one in report.disagreements if one.check == "there and back"}
    assert "epipolar geometry" not in caught(report)


@pytest.mark.parametrize("task", ["camera_position", "patch_match"])
def test_every_wrong_letter_is_caught(build, tmp_path, task):
    def all_of_the_family(records: list[Record]) -> None:
        for record in records:
            if record["task"] == task:
                other_letter(record)
                changed.append(record["id"])

    changed: list[str] = []
    report = verify(falsified(build, tmp_path / "false", all_of_the_family))
    assert caught(report) == {f"answer: {task}"}
    assert [one.where for one in report.disagreements] == changed != []


def test_an_answer_that_is_not_the_action_is_caught(build, tmp_path):
    def change(records: list[Record]) -> None:
        other_letter(next(record for record in records if record["task"] == "camera_motion"))

    assert caught(verify(falsified(build, tmp_path / "false", change))) == {"answer: camera_motion"}


def test_ids_that_stand_twice_and_counts_are_caught(build, tmp_path):
    def repeat(records: list[Record]) -> None:
        records[1] = records[0]

    assert {"unique"} <= caught(verify(falsified(build, tmp_path / "twice", repeat)))
    assert caught(verify(falsified(build, tmp_path / "less", list.pop))) == {"counts"}


def test_bytes_that_changed_and_files_that_came_or_went_are_caught(build, small_build, tmp_path):
    assert caught(verify(falsified(build, tmp_path / "false", lambda records: None, sign=False))) == {"checksum"}
    added = tmp_path / "added"
    shutil.copytree(build, added)
    shutil.copy(shard_files(added)[0], added / "test-00000-of-00001.parquet")
    assert caught(verify(added)) >= {"checksum"}
    gone = tmp_path / "gone"
    shutil.copytree(small_build, gone)
    shard_files(gone)[0].unlink()
    assert {"checksum", "counts"} <= caught(verify(gone))


def test_a_frame_in_two_splits_is_caught(build, tmp_path):
    folder = tmp_path / "leak"
    shutil.copytree(build, folder)
    shutil.copy(shard_files(folder)[0], folder / "validation-00000-of-00001.parquet")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["totals"]["rows"]["validation"] = 9
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert "splits" in caught(verify(folder))


def test_the_scan_itself_agrees(build):
    report = verify(build, [SCENES])
    assert [str(one) for one in report.disagreements] == []
    assert report.checked["scan depth"] == report.checked["bits of a fresh build"] == 12


def test_answers_in_sentences_agree(tmp_path):
    """Every family that is answered again from its row says in a sentence what it says in a word."""
    names = ", ".join(f"{name}: 1" for name in verification.ANSWERS)
    sentences = ("split.validation=0", "forms={sentence: 1}", f"questions={{{names}}}", "groups.sizes={2: 1, 3: 1}")
    build_small(tmp_path / "said", "synthetic:2", *sentences, limit=120)
    report = verify(tmp_path / "said")
    assert report.agrees, report.to_text()
    assert {name for name in report.checked if name.startswith("answer: ")} > {"answer: camera_motion_infer"}


def test_other_processes_find_the_same(build, tmp_path, monkeypatch):
    folder = falsified(build, tmp_path / "false", lambda records: set_pose(records[3], 0, np.eye(4)))
    build_small(tmp_path / "two", "synthetic:2", limit=12)
    for place, scenes in ((folder, ()), (tmp_path / "two", ("synthetic:2",))):
        alone = verify(place, scenes, workers=0)
        with monkeypatch.context() as few:
            few.setattr(verification, "FEW_ROWS", 0)
            assert asdict(verify(place, scenes, workers=2)) == asdict(alone)
    assert not verify(folder).agrees


def test_what_only_the_scan_can_tell_is_caught(build, tmp_path):
    """A row of another world, with a longer way and another surface; one bit of one image changed."""

    def change(records: list[Record]) -> None:
        first, second = pose(records[0], 0), pose(records[0], 1)
        second[:3, 3] = first[:3, 3] + 2 * (second[:3, 3] - first[:3, 3])
        set_pose(records[0], 1, second)
        records[0]["task"] = "other_world"
        say(records[0], to_text(encode(motion_between(first, second, np.array(records[0]["up"])), ActionLanguage())))
        flow_along_its_lines(records[0])
        data = bytearray(records[1]["images"][0]["bytes"])
        data[-100] ^= 1
        records[1]["images"][0]["bytes"] = bytes(data)

    folder = falsified(build, tmp_path / "false", change)
    ids = pq.read_table(shard_files(folder)[0])["id"].to_pylist()
    assert {one.where for one in verify(folder).disagreements} <= {ids[0], "build.json"}
    report = verify(folder, [SCENES])
    told = {(one.check, one.where) for one in report.disagreements}
    assert {("scan cameras", ids[0]), ("scan depth", ids[0]), ("bits of a fresh build", ids[1])} <= told


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["verify", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_prints_a_table_and_tells_by_its_exit_code(build, tmp_path):
    code, out, _ = run(str(build))
    assert code == 0
    assert "epipolar geometry" in out
    assert out.rstrip().endswith("all agree")
    folder = falsified(build, tmp_path / "false", lambda records: [shifted_flow(record) for record in records])
    code, out, _ = run(str(folder))
    assert code == 1
    assert "epipolar geometry: 0 -> 1: " in out
    code, out, _ = run(str(folder), "--json")
    told = json.loads(out)
    assert code == 1
    assert not told["agrees"]
    assert told["disagreeing"]["epipolar geometry"] == told["rows"] == 12


def test_what_cannot_be_verified_is_one_line(build, tmp_path):
    (tmp_path / "empty").mkdir()
    damaged = tmp_path / "damaged"
    shutil.copytree(build, damaged)
    shard_files(damaged)[0].write_bytes(b"PAR1 and nothing else")
    for arguments in (
        (str(tmp_path / "nowhere"),),
        (str(tmp_path / "empty"),),
        (str(damaged),),
        (str(build), "--scenes", str(tmp_path / "nowhere")),
    ):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        message = err.splitlines()[-1]
        assert message.startswith("error: ")


def test_another_scan_is_refused(build, tmp_path):
    redwood.write(tmp_path / "kitchen", room.walk(2))
    with pytest.raises(ShardError, match=r"none of kitchen is in this build; it holds synthetic-0000"):
        verify(build, [str(tmp_path / "kitchen")])
