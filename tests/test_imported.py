"""SPAR-7M-RGBD's own questions: sampled, drawn, and given maps and actions; what is not usable is counted."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hatch_data import build
from hatch_data.errors import ScanError
from hatch_data.forecast import forecast
from hatch_data.imported import read, sample
from hatch_data.recipe import DataRecipe
from hatch_data.settings import load, resolve
from hatch_data.shards import Row, from_record, read_rows, shard_files
from hatch_data.verify import verify
from tests.layouts import room, spar
from tests.layouts import spar_questions as questions

SCENES = ("scene0001_00", "scene0002_00")
FORMS = ("fill", "select")
GROUPS = ([0, 1, 2], [2, 1, 3], [4, 3, 5], [5, 6, 4])


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Two scenes of seven images and 50 questions about three images each; depth of one image is missing."""
    root = tmp_path_factory.mktemp("spar")
    entries: dict[tuple[str, str], list[dict]] = {}
    for number in range(50):
        task, form = list(questions.MARKED)[number % 5], FORMS[number // 5 % 2]
        one = questions.entry(SCENES[number // 10 % 2], number, task, form, GROUPS[number % 4])
        entries.setdefault((task, form), []).append(one)
    for (task, form), some in entries.items():
        questions.write_questions(root, task, form, some)
    single = [questions.entry(SCENES[0], 100, "view_change_infer", "fill", [0])]
    video = [questions.entry(SCENES[0], 101, "view_change_infer", "fill", [0, 1])]
    video[0]["image"] = [name.replace("image_color", "video_color") for name in video[0]["image"]]
    questions.write_questions(root, "view_change_infer_single", "fill", single + video)
    for scene in SCENES:
        folder = questions.write_scene(root, scene, room.walk(7))
    spar.depth_file(folder, 6).unlink()
    return root


@pytest.fixture(scope="module")
def built(root, tmp_path_factory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("built") / "paper"
    plan = build.plan((str(root),), out, load(DataRecipe, resolve("paper", "data")))
    return out, build.run(plan, 0)


def rows(out: Path) -> list[Row]:
    return [from_record(record) for record in read_rows(out)]


def test_fifty_questions_become_rows_but_for_those_without_depth(built):
    out, manifest = built
    lost = sum(
        scene["rejected_questions"].get(f"{task}: missing_depth", 0)
        for scene in manifest["scenes"].values()
        for task in questions.MARKED
    )
    about_it = sum(number // 10 % 2 == 1 and 6 in GROUPS[number % 4] for number in range(50))
    assert lost == about_it > 0
    assert len(rows(out)) == 50 - lost
    assert verify(out).disagreements == []


def test_rows_have_actions_and_maps_of_all_pairs(built):
    for row in rows(built[0]):
        assert [(a.source, a.target) for a in row.actions] == [(0, 1), (0, 2), (1, 2)]
        assert {a.vocabulary for a in row.actions} == {"hatch"}
        assert {(m.source, m.target) for m in row.matches} <= {(i, j) for i in range(3) for j in range(3) if i != j}
        assert row.messages[0]["content"].count("<image>") == 3
        assert row.messages[1]["content"].startswith('<action>[{"from": 1, "to": 2,')
    assert sum(len(row.matches) for row in rows(built[0])) > 0


def test_marks_are_drawn_where_and_in_the_colour_that_is_told(built):
    rgb = {"red": (255, 0, 0), "blue": (0, 0, 255), "green": (0, 128, 0)}
    for row in rows(built[0]):
        kind, colors, where = questions.MARKED[row.task]
        assert [(m.image, m.color) for m in row.markers] == sorted(zip(where, colors, strict=True))
        for k, (color, image) in enumerate(zip(colors, where, strict=True)):
            shown = np.asarray(Image.open(io.BytesIO(row.images[image])).convert("RGB")).astype(int)
            height, width = shown.shape[:2]
            x, y = (np.array(questions.mark(kind, k)[:2]) / 1000 * (width, height)).round().astype(int)
            corner = (slice(y - 3, y + 2), slice(x - 3, x + 2))
            assert np.abs(shown[corner] - rgb[color]).sum(axis=-1).min() < 90


def test_forms_and_options(built):
    forms = {row.form for row in rows(built[0])}
    assert forms == {"fill", "choice"}
    for row in rows(built[0]):
        assert row.options == (["left", "right", "behind", "in front"] if row.form == "choice" else [])


def test_the_same_words_about_other_points_are_another_row(tmp_path):
    first = questions.entry(SCENES[0], 0, "depth_prediction_oo_mv", "fill", GROUPS[0])
    second = json.loads(json.dumps(first)) | {"id": "second", "red_point": [[700, 700]]}
    questions.write_questions(tmp_path, "depth_prediction_oo_mv", "fill", [first, second])
    questions.write_scene(tmp_path, SCENES[0], room.walk(7))
    recipe = load(DataRecipe, resolve("paper", "data"))
    build.run(build.plan((str(tmp_path),), tmp_path / "out", recipe), 0)
    assert len({row.id for row in rows(tmp_path / "out")}) == 2
    assert verify(tmp_path / "out").disagreements == []


def test_a_choice_whose_options_cannot_be_told_apart_agrees(tmp_path):
    one = questions.entry(SCENES[0], 0, "view_change_infer", "select", GROUPS[0])
    one["conversations"][0]["value"] = "<image>\n" * 3 + "Left or right?"
    one["conversations"][1]["value"] = "left"
    questions.write_questions(tmp_path, "view_change_infer", "select", [one])
    questions.write_scene(tmp_path, SCENES[0], room.walk(7))
    build.run(build.plan((str(tmp_path),), tmp_path / "out", load(DataRecipe, resolve("paper", "data"))), 0)
    assert [(row.form, row.options) for row in rows(tmp_path / "out")] == [("choice", [])]
    assert verify(tmp_path / "out").disagreements == []


def test_no_frame_stands_in_two_splits_and_no_scan_has_more_rows_than_asked_for(root, tmp_path):
    plain = load(DataRecipe, resolve("paper", "data"), ("split.by=time", "split.validation=0.4"))
    manifest = build.run(build.plan((str(root),), tmp_path / "time", plain), 0)
    assert any("across_splits" in reason for reason in manifest["totals"]["rejected_questions"])
    assert verify(tmp_path / "time").disagreements == []
    few = load(DataRecipe, resolve("paper", "data"), ("rows_per_scene=3",))
    manifest = build.run(build.plan((str(root),), tmp_path / "few", few), 0)
    assert [sum(scene["rows"].values()) for scene in manifest["scenes"].values()] == [3, 3]


def test_a_sample_follows_from_the_seed(root):
    def names(limit: int | None, seed: int) -> set[str]:
        refs = sample([str(root)], limit, seed)
        return {one.posed.text for ref in refs for one in read(ref.questions)}

    everything = names(None, 0)
    assert len(everything) == 50
    assert names(12, 0) == names(12, 0) <= everything
    assert len(names(12, 0)) == len(names(12, 1)) == 12
    assert names(12, 0) != names(12, 1)
    assert names(12, 0) < names(30, 0)


def test_what_is_broken_is_named(root, tmp_path):
    with pytest.raises(ScanError, match="no question about several images of a scene that is here"):
        sample([str(tmp_path)], None, 0)
    file = questions.write_questions(tmp_path, "view_change_infer", "fill", [])
    questions.write_scene(tmp_path, SCENES[0], room.walk(2))
    file.write_text("{not json\n")
    with pytest.raises(ScanError, match=r"the line at byte 0 is not JSON"):
        sample([str(tmp_path)], None, 0)
    one = questions.entry(SCENES[0], 3, "depth_prediction_oo_mv", "fill", [0, 1])
    del one["conversations"][1]
    file.write_text(json.dumps(one) + "\n")
    (ref,) = sample([str(tmp_path)], None, 0)
    with pytest.raises(ScanError, match=r"the question at byte 0 lacks or garbles 'gpt'"):
        read(ref.questions)
    for spoilt, told in (
        ({"image": 7}, "has no list of images"),
        ({"red_point": [[float("nan"), 300]]}, "lacks or garbles red_point"),
        ({"type": "half a surrogate \udcff"}, "lacks or garbles"),
    ):
        entry = {**questions.entry(SCENES[0], 3, "depth_prediction_oo_mv", "fill", [0, 1, 2]), **spoilt}
        file.write_text(json.dumps(entry) + "\n")
        with pytest.raises(ScanError, match=rf"{file.name}: the question at byte 0 {told}[^\n]*; restore the file$"):
            read(sample([str(tmp_path)], None, 0)[0].questions)


def test_a_forecast_counts_the_questions(root, built, tmp_path):
    recipe = load(DataRecipe, resolve("paper", "data"))
    told = forecast(build.plan((str(root),), tmp_path / "out", recipe), 1)
    assert told["rows_at_most"] == 50
    assert abs(told["rows"] - len(rows(built[0]))) <= 1
    size = sum(path.stat().st_size for path in shard_files(built[0])) / 1e9
    assert abs(told["gigabytes"] - size) < 0.2 * size + 0.001
    assert forecast(build.plan((str(root),), tmp_path / "out", recipe, limit=7), 1)["rows_at_most"] == 7


def test_corners_of_a_box_come_in_any_order(tmp_path):
    one = questions.entry(SCENES[0], 3, "spatial_imagination_oc_mv", "fill", [0, 1, 2])
    other = {**one, "red_bbox": [[*one["red_bbox"][0][2:], *one["red_bbox"][0][:2]]]}
    questions.write_scene(tmp_path, SCENES[0], room.walk(2))
    file = questions.write_questions(tmp_path, "spatial_imagination_oc_mv", "fill", [one, other])
    first, second = read(((str(file), 0), (str(file), len(json.dumps(one)) + 1)))
    assert first.posed.markers == second.posed.markers
