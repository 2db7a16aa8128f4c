"""Rows written to a shard and read back, the form of the files, and what is said of unusable ones."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from hatch_data import shards
from hatch_data.errors import ShardError
from hatch_data.patches import FLOW_STEPS, FlowField, PatchMap
from hatch_data.shards import (
    ActionLabel,
    Match,
    PlacedMarker,
    Row,
    ShardWriter,
    from_record,
    read_rows,
    row_id,
    shard_files,
)

COLORS = {"JPEG": (200, 40, 40), "PNG": (30, 60, 220)}
TRAIN = "train-00000-of-00001.parquet"


def encoded(form: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 24), COLORS[form]).save(out, form)
    return out.getvalue()


def random_match(rng: np.random.Generator, source: int, target: int, found: int) -> Match:
    """`found` may be 0: a pair without overlap."""
    patches = PatchMap(
        (3, 4),
        (2, 5),
        np.sort(rng.integers(0, 12, found)).astype(np.int32),
        rng.integers(0, 10, found).astype(np.int32),
        rng.uniform(size=found).astype(np.float32),
        rng.uniform(size=12).astype(np.float32),
        rng.integers(0, 5, 12).astype(np.uint8),
    )
    return Match(source, target, patches, FlowField(rng.integers(0, FLOW_STEPS + 1, (6, 8, 2)).astype(np.uint16)))


def random_row(seed: int) -> Row:
    rng = np.random.default_rng(seed)
    frames = [f"frame-{n:06d}" for n in rng.integers(0, 1000, 2)]
    question = f"Where is it? ({seed})"
    return Row(
        id=row_id("kitchen", frames, "camera_motion", "choice", question, [], "pairs"),
        scene="kitchen",
        layout="7scenes",
        frames=frames,
        images=[encoded("JPEG"), encoded("PNG")],
        image_paths=["a.jpg", "b.png"],
        image_sizes=[(24, 32), (24, 32)],
        intrinsics=[tuple(rng.uniform(10, 500, 4)) for _ in frames],
        world_from_camera=[rng.normal(size=(4, 4)) for _ in frames],
        up=rng.normal(size=3),
        task="camera_motion",
        form="choice",
        question=question,
        answer="Überall — 左",
        options=["A", "B"] if seed % 2 else [],
        actions=[ActionLabel(0, 1, "full", "turn_left 30deg", '[{"turn_left_deg": 30}]')] if seed % 3 else [],
        matches=[random_match(rng, 0, 1, 7), random_match(rng, 1, 0, 0)] if seed % 5 else [],
        messages=[{"role": "user", "content": "<image><image> Where?"}, {"role": "assistant", "content": "A"}],
    )


def plain(value: object) -> object:
    """Dataclasses and arrays as plain values that can be compared."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tolist()
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value


def write(folder: Path, rows: list[Row], name: str = TRAIN) -> Path:
    writer = ShardWriter(folder / name)
    for row in rows:
        writer.write(row)
    writer.close()
    assert writer.rows == len(rows)
    return folder / name


def test_rows_come_back_as_they_were_written(tmp_path):
    rows = [random_row(seed) for seed in range(12)]
    write(tmp_path, rows)
    got = [from_record(record) for record in read_rows(tmp_path)]
    assert plain(got) == plain(rows)


def test_columns_can_be_chosen(tmp_path):
    write(tmp_path, [random_row(1)])
    assert [set(record) for record in read_rows(tmp_path, columns=["id", "answer"])] == [{"id", "answer"}]


def test_the_file_has_the_schema_and_leaves_images_as_they_are(tmp_path):
    file = pq.ParquetFile(write(tmp_path, [random_row(1)]))
    assert file.schema_arrow.equals(shards.SCHEMA, check_metadata=False)
    group = file.metadata.row_group(0)
    compression = {group.column(k).path_in_schema: group.column(k).compression for k in range(group.num_columns)}
    assert compression.pop("images.list.element.bytes") == "UNCOMPRESSED"
    assert set(compression.values()) == {"ZSTD"}


def test_row_groups_are_closed_once_they_are_full(tmp_path, monkeypatch):
    rows = [random_row(seed) for seed in range(1, 21)]
    of_one = max(sum(map(len, row.images)) + sum(m.flow.values.nbytes for m in row.matches) for row in rows)
    monkeypatch.setattr(shards, "ROW_GROUP_BYTES", 3 * of_one)
    file = pq.ParquetFile(write(tmp_path, rows))
    assert file.num_row_groups > 4
    groups = [file.metadata.row_group(k) for k in range(file.num_row_groups)]
    assert sum(group.num_rows for group in groups) == 20
    assert all(group.num_rows >= 3 for group in groups[:-1])
    images = [
        sum(len(image["bytes"]) for record in file.read_row_group(k).to_pylist() for image in record["images"])
        for k in range(file.num_row_groups)
    ]
    assert max(images) < 4 * of_one
    assert [record["question"] for record in read_rows(tmp_path)] == [row.question for row in rows]


def test_datasets_opens_the_folder_and_decodes_the_images(tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    write(folder, [random_row(seed) for seed in range(3)])
    write(folder, [random_row(9)], "test-00000-of-00001.parquet")
    loaded = datasets.load_dataset("parquet", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 3, "test": 1}
    assert loaded["train"].features["images"] == datasets.List(datasets.Image())
    jpeg, png = loaded["train"][0]["images"]
    assert jpeg.size == png.size == (32, 24)
    assert png.getpixel((5, 5)) == COLORS["PNG"]
    assert np.abs(np.subtract(jpeg.getpixel((5, 5)), COLORS["JPEG"])).max() < 6
    match = random_row(1).matches[0]
    stored = loaded["train"][1]["matches"][0]
    assert stored["weight"] == pytest.approx(match.map.weight.tolist())
    assert stored["flow"] == match.flow.to_bytes()


def test_nothing_bears_the_name_of_a_shard_before_it_is_complete(tmp_path):
    writer = ShardWriter(tmp_path / TRAIN)
    writer.write(random_row(1))
    assert not list(tmp_path.glob("*.parquet"))
    with pytest.raises(ShardError, match="no shards"):
        shard_files(tmp_path)
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == [TRAIN]


def test_a_text_is_replaced_whole(tmp_path):
    shards.write_text(tmp_path / "build.json", "one")
    shards.write_text(tmp_path / "build.json", "zwei – 二")
    assert [path.name for path in tmp_path.iterdir()] == ["build.json"]
    assert (tmp_path / "build.json").read_text(encoding="utf-8") == "zwei – 二"


def test_ids_are_stable_and_differ_with_everything_they_name():
    mark, moved = (PlacedMarker(0, (x, 0.2, x, 0.2), "1", "red", True) for x in (0.1, 0.3))
    parts = ("kitchen", ["a", "b"], "camera_motion", "choice", "Where?", [mark], "pairs")
    assert row_id(*parts) == row_id(*parts)
    changed = {1: ["b", "a"], 5: [moved]}
    others = [row_id(*parts[:k], changed.get(k) or parts[k] + "x", *parts[k + 1 :]) for k in range(len(parts))]
    assert len({row_id(*parts), *others}) == 8


def test_splits_are_read_apart_and_in_order(tmp_path):
    for name in ("train-00001-of-00002", "train-00000-of-00002", "test-00000-of-00001"):
        write(tmp_path, [random_row(len(name) + int(name[-10]))], f"{name}.parquet")
    assert [path.name for path in shard_files(tmp_path, "train")] == [
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
    ]
    assert len(list(read_rows(tmp_path))) == 3
    assert len(list(read_rows(tmp_path, "test"))) == 1


def said(folder: Path, split: str | None = None) -> str:
    """The error of reading a folder: one line."""
    with pytest.raises(ShardError) as error:
        list(read_rows(folder, split))
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_folder_without_shards_is_named(tmp_path):
    assert str(tmp_path / "none") in said(tmp_path / "none")
    assert "no shards" in said(tmp_path)
    write(tmp_path, [random_row(1)])
    assert "'validation'" in said(tmp_path, "validation")


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = write(tmp_path, [random_row(seed) for seed in range(3)])
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"not a shard\nat all\n"}[damage])
    assert said(tmp_path).startswith(f"{path}: not a readable Parquet file")


def test_a_file_damaged_inside_is_named(tmp_path):
    path = write(tmp_path, [random_row(seed) for seed in range(30)])
    whole = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    whole[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(whole)
    assert said(tmp_path).startswith(f"{path}: row group 0 is damaged")


@pytest.mark.parametrize("name", ["world_from_camera", "intrinsics", "up"])
def test_numbers_that_are_not_finite_are_told(tmp_path, name):
    row = random_row(1)
    spoilt = np.full_like(np.asarray(getattr(row, name), np.float64), np.nan)
    write(tmp_path, [replace(row, **{name: spoilt if name == "up" else list(spoilt)})])
    assert f"column '{name}' has a number that is not finite" in said(tmp_path)


@pytest.mark.parametrize(("place", "number"), [(0, 60001), (0, 65506), (1, 60001)])
def test_a_flow_that_leads_nowhere_is_told(tmp_path, place, number):
    """Maps are counted from it without a look at where it leads."""
    row = random_row(1)
    first = row.matches[0]
    values = first.flow.values.copy()
    write(tmp_path, [replace(row, matches=[replace(first, flow=FlowField(values))])])
    assert len(list(read_rows(tmp_path))) == 1
    values[-1, -1, place] = number
    write(tmp_path, [replace(row, matches=[replace(first, flow=FlowField(values))])])
    assert "'matches.flow' has a number that is neither a position nor a code" in said(tmp_path)


def test_a_row_group_with_columns_of_several_lengths_is_told(tmp_path, monkeypatch):
    path = write(tmp_path, [random_row(seed) for seed in range(3)])
    whole = pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda *args, **kind: whole(*args, **kind)[:2])
    assert said(tmp_path) == f"{path}: row group 0 is damaged (2 rows of 3); rebuild this folder"


def test_a_table_of_another_form_is_named_with_what_it_lacks(tmp_path):
    pq.write_table(pa.table({"id": ["a"], "scene": ["b"]}), tmp_path / TRAIN)
    assert "column 'layout' is missing" in said(tmp_path)
