"""Splits that share no space, and scans of benchmarks kept out of training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hatch_data.errors import ScanError
from hatch_data.recipe import SplitSettings
from hatch_data.scans import LAYOUTS, ScanRef, reader
from hatch_data.splits import DATA_SETS, evaluation_spaces, splits_by_space, splits_by_time


@settings(deadline=None)
@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=12), st.floats(0, 0.49), st.floats(0, 0.49))
def test_every_split_that_is_asked_for_has_spaces(names, validation, test):
    spaces = [f"room-{name}" for name in sorted(names)]
    wanted = SplitSettings(validation=validation, test=test)
    split = splits_by_space(spaces, wanted)
    assert split.keys() == set(spaces)
    assert splits_by_space(spaces[::-1] * 2, wanted) == split
    asked = {"train"} | ({"test"} if test else set()) | ({"validation"} if validation else set())
    assert "train" in split.values()
    assert set(split.values()) <= asked
    assert len(set(split.values())) == min(len(asked), len(spaces))


def test_a_space_stays_in_its_split_when_others_come():
    spaces = [f"room-{k}" for k in range(400)]
    wanted = SplitSettings(validation=0.2, test=0.1)
    few, many = splits_by_space(spaces[:200], wanted), splits_by_space(spaces, wanted)
    assert all(many[space] == name for space, name in few.items())
    shares = Counter(many.values())
    assert abs(shares["validation"] / 400 - 0.2) < 0.06
    assert abs(shares["test"] / 400 - 0.1) < 0.05


@settings(deadline=None)
@given(st.integers(0, 500), st.floats(0, 0.45), st.floats(0, 0.45))
def test_stretches_of_time(frames, validation, test):
    split = splits_by_time(frames, SplitSettings(validation=validation, test=test))
    assert split == sorted(split, key=("train", "validation", "test").index)
    counts = Counter(split)
    assert len(split) == frames
    assert (counts["validation"], counts["test"]) == (round(frames * validation), round(frames * test))


#: Scans of one place, by layout, as their data sets name them.
ONE_PLACE = {
    "scannet": ("scene0011_00", "scene0011_01"),
    "scannet-sens": ("scene0011_00", "scene0011_01"),
    "scannet-posed-images": ("scene0011_00", "scene0011_02"),
    "scannet-frames-25k": ("scene0011_00", "scene0011_01"),
    "spar": ("scene0011_00", "scene0011_01"),
    "tum": ("rgbd_dataset_freiburg1_rpy", "rgbd_dataset_freiburg1_desk"),
    "replica": ("frl_apartment_0", "frl_apartment_4"),
}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_no_split_shares_space_with_another(layout, tmp_path):
    """Made-up scans of each layout: those of one place are in one split, whatever the names of the others."""
    other = "rgbd_dataset_freiburg{0}_{1}" if layout == "tum" else "scan{1:03d}"
    names = [other.format(k % 3 + 1, k) for k in range(60)] + list(ONE_PLACE.get(layout, ()))
    if layout == "tum":  # its reader looks into a scan's file for the number of the camera
        for name in names:
            (tmp_path / name).mkdir()
            (tmp_path / name / "rgb.txt").write_text("# color images\n")
    spaces = {name: reader(layout).space(tmp_path / name) for name in names}
    split = splits_by_space(spaces.values(), SplitSettings(validation=0.3, test=0.2))
    assert {split[space] for space in spaces.values()} == {"train", "validation", "test"}
    assert len({spaces[name] for name in ONE_PLACE.get(layout, names[:1])}) == 1
    assert len(set(spaces.values())) >= (3 if layout == "tum" else 60)


def made_up(layout: str, root: Path, *names: str) -> list[ScanRef]:
    return [ScanRef(layout, str(root / name), name, reader(layout).space(root / name)) for name in names]


def test_scans_of_benchmarks_are_for_test(tmp_path):
    (tmp_path / "scannetv2_val.txt").write_text("scene0011_00\nscene0015_00\n")
    refs = made_up("scannet", tmp_path / "scans", "scene0011_00", "scene0011_01", "scene0012_00", "scene0013_00")
    spaces, warnings = evaluation_spaces(refs, SplitSettings())
    assert (spaces, warnings) == ({"scene0011"}, [])
    split = splits_by_space([ref.space for ref in refs], SplitSettings(validation=0.3), spaces)
    assert split["scene0011"] == "test"
    assert {split["scene0012"], split["scene0013"]} == {"train", "validation"}


def test_tables_and_folders_of_arkitscenes(tmp_path):
    root = tmp_path / "3dod"
    root.mkdir()
    table = "video_id,visit_id,fold\n41,7,Training\n42,7,Validation\n43,8,Training\n"
    (root / "3dod_train_val_splits.csv").write_text(table)
    refs = made_up("arkitscenes", root / "Training", "41", "43") + made_up("arkitscenes", root / "Validation", "42")
    assert evaluation_spaces(refs, SplitSettings()) == ({"arkitscenes-visit-7"}, [])
    (root / "3dod_train_val_splits.csv").unlink()
    alone = [ScanRef("arkitscenes", str(root / "Validation" / "42"), "42", "42")]
    assert evaluation_spaces(alone, SplitSettings()) == ({"42"}, [])


def test_lists_may_be_named(tmp_path):
    listed = tmp_path / "mine.txt"
    listed.write_text("a1b2\n")
    refs = made_up("scannetpp-iphone", tmp_path / "data", "a1b2", "c3d4")
    assert evaluation_spaces(refs, SplitSettings(files=(str(listed),))) == ({"a1b2"}, [])
    with pytest.raises(ScanError, match=r"gone.txt: a list of scans that cannot be read"):
        evaluation_spaces(refs, SplitSettings(files=(str(tmp_path / "gone.txt"),)))


@pytest.mark.parametrize("layout", ["scannet", "spar", "nerfstudio", "colmap", "replica"])
def test_a_list_that_is_named_holds_for_every_layout(layout, tmp_path):
    listed = tmp_path / "scannetv2_val.txt"
    listed.write_text("scene0011_00\nscene0015_00\n")
    held, other = made_up(layout, tmp_path / "data" / "deep" / "er" / "still", "scene0011_00", "scene0012_00")
    named = SplitSettings(files=(str(listed),))
    assert evaluation_spaces([held, other], named) == ({held.space}, [])
    spaces, (warning,) = evaluation_spaces([other], named)
    assert not spaces
    assert warning.startswith(f"{listed}: names none of the 1 scans, which are called scene0012_00")


def test_a_list_that_is_found_is_of_its_own_layouts(tmp_path):
    (tmp_path / "scannetv2_val.txt").write_text("scene0011_00\n")
    refs = made_up("replica", tmp_path, "scene0011_00") + made_up("scannet", tmp_path / "scans", "scene0012_00")
    assert evaluation_spaces(refs, SplitSettings()) == (set(), [])


def test_scans_of_benchmarks_anywhere_but_for_those_of_a_list_that_is_named(tmp_path):
    (tmp_path / "scannetv2_val.txt").write_text("scene0011_00\n")
    mine = tmp_path / "mine.txt"
    mine.write_text("scene0012_00\n")
    refs = made_up("scannet", tmp_path / "scans", "scene0011_00", "scene0012_00")
    anywhere = SplitSettings(benchmark_scans="any", files=(str(mine),))
    assert evaluation_spaces(refs, anywhere) == ({"scene0012"}, [])


@pytest.mark.parametrize("data_set", DATA_SETS, ids=lambda one: one.name)
def test_a_missing_list_is_warned_of_by_name(data_set, tmp_path):
    refs = [ScanRef(data_set.layouts[0], str(tmp_path / "data" / "x"), "x", "x")]
    spaces, (warning,) = evaluation_spaces(refs, SplitSettings())
    assert not spaces
    assert data_set.name in warning
    assert data_set.files[0] in warning
    assert evaluation_spaces([ScanRef("tum", str(tmp_path / "y"), "y", "y")], SplitSettings()) == (set(), [])
