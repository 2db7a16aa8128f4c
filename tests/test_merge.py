"""Merged builds: every row as it was, once, in its split; the wanted number in the wanted proportions."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hatch_data import merge as merging
from hatch_data.errors import ShardError
from hatch_data.merge import merge
from hatch_data.shards import MANIFEST, read_manifest, read_rows
from hatch_data.verify import folder as folders
from hatch_data.verify import verify
from tests.builds import build_small
from tests.test_build import checksums
from tests.test_cli import refused, run

pytestmark = pytest.mark.usefixtures("remembered_scans")


@pytest.fixture(scope="module")
def other_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scans of `small_build` with another seed and other settings: other rows, the same splits."""
    out = tmp_path_factory.mktemp("other") / "other"
    build_small(out, "synthetic:3", "seed=1", "images.jpeg_quality=90")
    return out


def rows_of(folder: Path) -> dict[str, tuple[str, dict]]:
    """Row id -> (split, record)."""
    return {
        row["id"]: (split, row) for split in read_manifest(folder)["totals"]["rows"] for row in read_rows(folder, split)
    }


def test_all_rows_are_there_once_as_they_were(small_build, other_build, tmp_path):
    out = tmp_path / "out"
    manifest = merge([small_build, other_build], out, {})
    assert rows_of(out) == rows_of(small_build) | rows_of(other_build)
    parts = [read_manifest(folder)["totals"]["rows"] for folder in (small_build, other_build)]
    assert manifest["totals"]["rows"] == dict(sum(map(Counter, parts), Counter()))
    assert not list(folders.digest_fits(manifest))
    assert [found for _, found in folders.files_fit(out, manifest) if found] == []
    # Whole shards are copied as they are.
    of_parts = {*checksums(small_build).values(), *checksums(other_build).values()}
    assert all(digest in of_parts for name, digest in checksums(out).items() if name.endswith(".parquet"))
    assert (
        len(datasets.load_dataset("parquet", data_dir=str(out), split="train", cache_dir=str(tmp_path / "c")))
        == (manifest["totals"]["rows"]["train"])
    )


def test_verify_holds_each_row_to_the_settings_it_was_built_with(small_build, other_build, tmp_path):
    merge([small_build, other_build], tmp_path / "out", {}, rows=10)
    found = {str(one) for one in verify(tmp_path / "out").disagreements}
    assert found <= {str(one) for part in (small_build, other_build) for one in verify(part).disagreements}
    with pytest.raises(ShardError, match="is merged; hold the builds it was made from against the scans"):
        verify(tmp_path / "out", ["synthetic:3"])


def test_weights_and_a_fixed_number_of_rows(small_build, other_build, tmp_path):
    sizes = [sum(read_manifest(folder)["totals"]["rows"].values()) for folder in (small_build, other_build)]
    manifest = merge([small_build, other_build], tmp_path / "out", {small_build: 3.0}, rows=12, seed=5)
    taken = [source["rows"] for source in manifest["merged"]["sources"]]
    assert sum(taken) == sum(manifest["totals"]["rows"].values()) == len(rows_of(tmp_path / "out")) == 12
    assert abs(taken[0] - 12 * 3 * sizes[0] / (3 * sizes[0] + sizes[1])) <= 1
    every = rows_of(small_build) | rows_of(other_build)
    assert all(every[row_id] == found for row_id, found in rows_of(tmp_path / "out").items())
    again = merge([small_build, other_build], tmp_path / "again", {small_build: 3.0}, rows=12, seed=5)
    assert again == manifest
    assert checksums(tmp_path / "again") == checksums(tmp_path / "out")
    other = merge([small_build, other_build], tmp_path / "seed", {small_build: 3.0}, rows=12, seed=6)
    assert rows_of(tmp_path / "seed").keys() != rows_of(tmp_path / "out").keys()
    assert sum(other["totals"]["rows"].values()) == 12


def test_weights_alone_thin_the_lighter(small_build, other_build, tmp_path):
    manifest = merge([small_build, other_build], tmp_path / "out", {other_build: 0.5})
    whole, half = manifest["merged"]["sources"]
    assert whole["rows"] == whole["of"]
    assert half["rows"] == half["of"] // 2


def test_a_source_that_has_too_few_gives_all(small_build, other_build, tmp_path):
    sizes = [sum(read_manifest(folder)["totals"]["rows"].values()) for folder in (small_build, other_build)]
    manifest = merge([small_build, other_build], tmp_path / "out", {small_build: 1000.0}, rows=sum(sizes) - 1)
    assert [source["rows"] for source in manifest["merged"]["sources"]] == [sizes[0], sizes[1] - 1]


def test_rows_that_occur_twice_are_counted_and_taken_once(small_build, tmp_path):
    shutil.copytree(small_build, tmp_path / "copy")
    manifest = merge([small_build, tmp_path / "copy"], tmp_path / "out", {})
    rows = sum(read_manifest(small_build)["totals"]["rows"].values())
    assert manifest["merged"]["duplicates"] == {str(tmp_path / "copy"): rows}
    assert rows_of(tmp_path / "out") == rows_of(small_build)
    assert f"{rows} rows left out: an earlier folder has the same row" in merging.summary(manifest, tmp_path / "out")


def test_a_merge_cut_off_goes_on(small_build, other_build, tmp_path, monkeypatch):
    merge([small_build, other_build], tmp_path / "whole", {}, rows=20)
    copied, original = [], merging._copy

    def interrupted(shard: merging._Shard, path: Path) -> None:
        copied.append(path.name)
        if len(copied) == 3:
            raise KeyboardInterrupt
        original(shard, path)

    out = tmp_path / "out"
    monkeypatch.setattr(merging, "_copy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        merge([small_build, other_build], out, {}, rows=20)
    assert not (out / MANIFEST).exists()
    with pytest.raises(ShardError, match="holds something else than this merge"):
        merge([small_build, other_build], out, {}, rows=21)
    merge([small_build, other_build], out, {}, rows=20)
    assert len(copied) == len(set(copied)) + 1
    assert checksums(out) == checksums(tmp_path / "whole")


def test_what_does_not_go_together_is_refused(small_build, other_build, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(other_build, old)
    manifest = read_manifest(old)
    manifest["plan"]["version"] = "0.0.1"
    (old / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ShardError, match=r"was built by version 0\.0\.1, .* build one of them again"):
        merge([small_build, old], tmp_path / "out", {})
    parted = tmp_path / "parted"
    build_small(parted, "synthetic:3", "split.validation=0.6")
    with pytest.raises(ShardError, match=r"place 'synthetic-000\d' is .* what is tested would be trained on"):
        merge([small_build, parted], tmp_path / "out", {})
    with pytest.raises(ShardError, match="is named twice"):
        merge([small_build, small_build], tmp_path / "out", {})
    with pytest.raises(ShardError, match=r"--rows 100000: the builds hold \d+ different rows"):
        merge([small_build], tmp_path / "out", {}, rows=100_000)
    assert not (tmp_path / "out").exists()


def test_the_command(small_build, other_build, tmp_path):
    out = tmp_path / "out"
    code, told, _ = run("merge", str(small_build), str(other_build), "-o", str(out), "--rows", "8")
    assert code == 0
    assert told.splitlines()[-1] == f"8 rows in {out}"
    assert "lies in a folder that is merged" in refused(run("merge", str(small_build), "-o", str(small_build / "x")))
    assert "write it as DIR=W" in refused(run("merge", str(small_build), "-o", str(tmp_path / "x"), "--weight", "2"))
    unknown = refused(run("merge", str(small_build), "-o", str(tmp_path / "x"), "--weight", "elsewhere=2"))
    assert "'elsewhere' is not merged" in unknown
    assert "no build.json" in refused(run("merge", str(tmp_path), "-o", str(tmp_path / "x")))


def spoilt(build: Path, folder: Path, column: str, value: object) -> Path:
    """A copy of a build with `value` in the first row of a column of its first training shard."""
    shutil.copytree(build, folder)
    shard = folder / next(iter(read_manifest(folder)["scenes"].values()))["shards"][0]["file"]
    table = pq.read_table(shard)
    values = [value, *table[column].to_pylist()[1:]]
    index = table.column_names.index(column)
    table = table.set_column(index, table.field(column), pa.array(values, table.field(column).type))
    pq.write_table(table, shard)
    return folder


@pytest.mark.parametrize(("column", "rows"), [("answer", None), ("answer", "some"), ("id", None), ("frames", None)])
def test_a_row_that_lacks_something_is_refused(small_build, tmp_path, column, rows):
    folder = spoilt(small_build, tmp_path / "spoilt", column, None)
    wanted = rows and sum(read_manifest(folder)["totals"]["rows"].values()) - 1
    with pytest.raises(ShardError, match=rf"^{folder}/[^\n]*row group 0 is damaged \(column '{column}' has a null\)"):
        merge([folder], tmp_path / "out", {}, wanted)
    assert not (tmp_path / "out" / MANIFEST).exists()


@pytest.mark.parametrize(
    ("where", "value", "told"),
    [
        (("plan", "scans"), "x", r"plan\.scans"),
        (("plan", "recipe"), {}, r"plan\.recipe\.seed"),
        (("versions",), None, "versions"),
        (("scenes", "synthetic-0000", "left_out_pairs"), [], r"left_out_pairs"),
        (("scenes", "synthetic-0000", "up_source"), None, "up_source"),
        (("scenes", "synthetic-0000", "groups"), -1, "groups"),
        (("totals", "left_out_pairs"), None, r"totals\.left_out_pairs"),
        (("scenes", "synthetic-0000", "shards", 0, "split"), "elsewhere", r"shards\.0\.split"),
        (("scenes", "synthetic-0000", "up_source"), "\udcff", "damaged"),
    ],
)
def test_a_manifest_that_is_none_is_refused(small_build, tmp_path, where, value, told):
    folder = tmp_path / "spoilt"
    shutil.copytree(small_build, folder)
    manifest = holder = read_manifest(folder)
    for key in where[:-1]:
        holder = holder[key]
    holder[where[-1]] = value
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ShardError, match=rf"build\.json: [^\n]*{told}[^\n]*; build again into another folder$"):
        merge([folder], tmp_path / "out", {})
