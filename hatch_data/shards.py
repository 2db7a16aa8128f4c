"""The row: its schema, its writer, its reader. One row is one training sample, complete in itself.

A folder of shards opens as it is with `datasets.load_dataset("parquet", data_dir=...)`, images decoded.
Files are written under a temporary name, fsynced and renamed; `build.json` is written last and is the commit point.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hatch_data.errors import ShardError
from hatch_data.patches import FlowField, Grid, PatchMap
from hatch_data.soundness import fault, manifest_fault

SPLITS = ("train", "validation", "test")
#: Bytes of encoded rows after which a row group is closed: several copies of a group are in memory as it is written.
ROW_GROUP_BYTES = 8 << 20
#: Of zstd: writing takes a fifth less time than at its default, and what is compressed is some 4 % larger.
ZSTD_LEVEL = -5
MANIFEST = "build.json"

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("scene", pa.string()),
        ("layout", pa.string()),
        ("frames", pa.list_(pa.string())),
        ("images", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),
        ("image_sizes", pa.list_(pa.list_(pa.int32()))),
        ("intrinsics", pa.list_(pa.list_(pa.float64()))),
        ("world_from_camera", pa.list_(pa.list_(pa.float64()))),
        ("up", pa.list_(pa.float64())),
        ("task", pa.string()),
        ("form", pa.string()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("options", pa.list_(pa.string())),
        (
            "actions",
            pa.list_(
                pa.struct(
                    [
                        ("source", pa.int32()),
                        ("target", pa.int32()),
                        ("vocabulary", pa.string()),
                        ("text", pa.string()),
                        ("json", pa.string()),
                    ]
                )
            ),
        ),
        (
            "matches",
            pa.list_(
                pa.struct(
                    [
                        ("source", pa.int32()),
                        ("target", pa.int32()),
                        ("source_grid", pa.list_(pa.int32())),
                        ("target_grid", pa.list_(pa.int32())),
                        ("source_patch", pa.list_(pa.uint16())),
                        ("target_patch", pa.list_(pa.uint16())),
                        ("weight", pa.list_(pa.float32())),
                        ("valid", pa.list_(pa.float32())),
                        ("visibility", pa.list_(pa.uint8())),
                        ("flow_size", pa.list_(pa.int32())),
                        ("flow", pa.binary()),
                    ]
                )
            ),
        ),
        (
            "markers",
            pa.list_(
                pa.struct(
                    [
                        ("image", pa.int32()),
                        ("box", pa.list_(pa.float32())),
                        ("label", pa.string()),
                        ("color", pa.string()),
                        ("drawn", pa.bool_()),
                    ]
                )
            ),
        ),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
    ]
)


@dataclass(frozen=True)
class ActionLabel:
    """The actions that lead from image `source` to image `target` (indices into the row's images, from 0)."""

    source: int
    target: int
    vocabulary: str
    text: str
    json: str


@dataclass(frozen=True)
class Match:
    """The patch map from image `source` to image `target` and the flow field for other grids."""

    source: int
    target: int
    map: PatchMap
    flow: FlowField


@dataclass(frozen=True)
class PlacedMarker:
    """A marker on image `image`: `box` is (left, top, right, bottom) in shares of its width and height, without size
    for a point. `drawn`: the stored image shows it already; else it is drawn when the image is loaded."""

    image: int
    box: tuple[float, float, float, float]
    label: str
    color: str
    drawn: bool


@dataclass(frozen=True)
class Row:
    """One training sample. `images` holds encoded bytes; `intrinsics` are (fx, fy, cx, cy) of the stored image in
    pixels; `image_sizes` are (height, width); poses are (4, 4) `world_from_camera`."""

    id: str
    scene: str
    layout: str
    frames: list[str]
    images: list[bytes]
    image_paths: list[str]
    image_sizes: list[tuple[int, int]]
    intrinsics: list[tuple[float, float, float, float]]
    world_from_camera: list[np.ndarray]
    up: np.ndarray
    task: str
    form: str
    question: str
    answer: str
    options: list[str] = field(default_factory=list)
    actions: list[ActionLabel] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)
    markers: list[PlacedMarker] = field(default_factory=list)
    messages: list[dict[str, str]] = field(default_factory=list)


def row_id(
    scene: str,
    frames: list[str],
    task: str,
    form: str,
    question: str,
    markers: Sequence[PlacedMarker],
    recipe: str,
) -> str:
    """Stable and unique: a hash of scene, frames, task, form, question (with its markers: the same words may be asked
    of other points) and recipe."""
    # As they are stored, so that a row that was read has the same id.
    marks = [[m.image, m.label, m.color, *np.array(m.box, np.float32).tolist()] for m in markers]
    text = json.dumps([scene, frames, task, form, question, marks, recipe])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class ShardWriter:
    """Writes rows of one shard under a temporary name; `close` fsyncs and renames it to `path`. `watch` sees each row
    group before it is written."""

    def __init__(self, path: Path, watch: Callable[[pa.Table], object] | None = None):
        self.path = path
        self._watch = watch
        self.rows = 0
        self._partial = path.with_name(f".{path.name}.partial")
        self._waiting: list[Row] = []
        self._waiting_bytes = 0
        self._parquet = parquet_writer(self._partial)

    def write(self, row: Row) -> None:
        """Add a row; a row group is flushed once `ROW_GROUP_BYTES` of images and flow are waiting."""
        self._waiting.append(row)
        self._waiting_bytes += sum(map(len, row.images)) + sum(m.flow.values.nbytes for m in row.matches)
        if self._waiting_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            table = to_table(self._waiting)
            if self._watch is not None:
                self._watch(table)
            self._parquet.write_table(table)
            del table
            # Else Arrow keeps up to 30 MB that the rest of the process could use.
            pa.default_memory_pool().release_unused()
            self.rows += len(self._waiting)
            self._waiting, self._waiting_bytes = [], 0

    def close(self) -> None:
        """Commit the shard."""
        self._flush()
        self._parquet.close()
        commit(self._partial, self.path)


def parquet_writer(path: Path) -> pq.ParquetWriter:
    """A writer of `SCHEMA` in the form that every shard has."""
    compressed = [leaf for leaf in _leaf_columns() if leaf != "images.list.element.bytes"]
    return pq.ParquetWriter(
        path,
        SCHEMA.with_metadata({"huggingface": json.dumps({"info": {"features": _features()}})}),
        compression={"images.list.element.bytes": "NONE"} | dict.fromkeys(compressed, "ZSTD"),
        compression_level=dict.fromkeys(compressed, ZSTD_LEVEL),
        use_dictionary=["scene", "layout", "task", "form"],
        write_statistics=[name for name in SCHEMA.names if name not in ("images", "matches")],
        store_schema=True,
    )


def commit(partial: Path, path: Path) -> None:
    """fsync a finished temporary file, rename it into place, and fsync the folder."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_text(path: Path, text: str) -> None:
    """Write a small file atomically."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    commit(partial, path)


def to_table(rows: list[Row]) -> pa.Table:
    """Rows as one Arrow table of `SCHEMA`."""
    columns: dict[str, Any] = {
        name: pa.array([getattr(row, name) for row in rows], SCHEMA.field(name).type)
        for name in ("id", "scene", "layout", "frames", "task", "form", "question", "answer", "options", "messages")
    }
    columns["images"] = _images_array(rows)
    columns["image_sizes"] = pa.array([row.image_sizes for row in rows], SCHEMA.field("image_sizes").type)
    columns["intrinsics"] = pa.array([row.intrinsics for row in rows], SCHEMA.field("intrinsics").type)
    poses = [np.asarray(pose, np.float64).ravel() for row in rows for pose in row.world_from_camera]
    columns["world_from_camera"] = _grouped([row.world_from_camera for row in rows], _lists(poses, pa.float64()))
    columns["up"] = _lists([np.asarray(row.up, np.float64) for row in rows], pa.float64())
    columns["actions"] = pa.array([[vars(a) for a in row.actions] for row in rows], SCHEMA.field("actions").type)
    columns["markers"] = pa.array([[vars(m) for m in row.markers] for row in rows], SCHEMA.field("markers").type)
    columns["matches"] = _matches_array([row.matches for row in rows])
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _images_array(rows: list[Row]) -> pa.Array:
    struct = SCHEMA.field("images").type.value_type
    fields = [
        _binary_array([data for row in rows for data in row.images]),
        pa.array([path for row in rows for path in row.image_paths], pa.string()),
    ]
    return _grouped([row.images for row in rows], pa.StructArray.from_arrays(fields, fields=list(struct)))


def _matches_array(per_row: list[list[Match]]) -> pa.Array:
    matches = [match for row in per_row for match in row]
    maps = [match.map for match in matches]
    struct = SCHEMA.field("matches").type.value_type
    lists: dict[str, list[Any]] = {
        "source_grid": [m.source_grid for m in maps],
        "target_grid": [m.target_grid for m in maps],
        "source_patch": [m.source_patch for m in maps],
        "target_patch": [m.target_patch for m in maps],
        "weight": [m.weight for m in maps],
        "valid": [m.valid for m in maps],
        "visibility": [m.visibility for m in maps],
        "flow_size": [m.flow.values.shape[:2] for m in matches],
    }
    fields = {name: _lists(parts, struct.field(name).type.value_type) for name, parts in lists.items()}
    fields["source"] = pa.array([m.source for m in matches], pa.int32())
    fields["target"] = pa.array([m.target for m in matches], pa.int32())
    fields["flow"] = _binary_array([np.ascontiguousarray(m.flow.values, "<u2").data.cast("B") for m in matches])
    values = pa.StructArray.from_arrays([fields[f.name] for f in struct], fields=list(struct))
    return _grouped(per_row, values)


def _grouped(per_row: Sequence[Sized], values: pa.Array) -> pa.Array:
    """A list array whose lists are as long as those of `per_row`, of `values` one after the other."""
    return pa.ListArray.from_arrays(np.cumsum([0, *map(len, per_row)], dtype=np.int32), values)


def _lists(parts: Sequence[Sequence[float] | np.ndarray], kind: pa.DataType) -> pa.Array:
    values = np.concatenate(parts) if parts else np.empty(0)
    return _grouped(parts, pa.array(values.astype(kind.to_pandas_dtype(), copy=False), kind))


def _binary_array(parts: Sequence[bytes | memoryview]) -> pa.Array:
    """Bytes as one binary column, copied once."""
    offsets = np.cumsum([0, *map(len, parts)], dtype=np.int32)
    data = pa.py_buffer(b"".join(parts))
    return pa.Array.from_buffers(pa.binary(), len(parts), [None, pa.py_buffer(offsets), data])


def from_record(record: dict[str, Any]) -> Row:
    """A `Row` from one record of a shard as pyarrow gives it (`table.to_pylist()`). Raises `ShardError`."""
    try:
        return _from_record(record)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        told = _one_line(error) or type(error).__name__
        raise ShardError(
            f"row {record.get('id')}: its columns do not go together ({told}); rebuild its shard"
        ) from None


def _from_record(record: dict[str, Any]) -> Row:
    kinds = ("id", "scene", "layout", "frames", "task", "form", "question", "answer", "options", "messages")
    return Row(
        **{name: record[name] for name in kinds},
        images=[image["bytes"] for image in record["images"]],
        image_paths=[image["path"] for image in record["images"]],
        image_sizes=[(size[0], size[1]) for size in record["image_sizes"]],
        intrinsics=[tuple(k) for k in record["intrinsics"]],
        world_from_camera=[np.array(pose).reshape(4, 4) for pose in record["world_from_camera"]],
        up=np.array(record["up"]),
        actions=[ActionLabel(**action) for action in record["actions"]],
        matches=[match_from_record(match) for match in record["matches"]],
        markers=[PlacedMarker(**{**marker, "box": tuple(marker["box"])}) for marker in record["markers"]],
    )


def match_from_record(record: dict[str, Any]) -> Match:
    """A `Match` from one element of the `matches` column."""
    return Match(
        record["source"],
        record["target"],
        PatchMap(
            _grid(record["source_grid"]),
            _grid(record["target_grid"]),
            np.array(record["source_patch"], np.int32),
            np.array(record["target_patch"], np.int32),
            np.array(record["weight"], np.float32),
            np.array(record["valid"], np.float32),
            np.array(record["visibility"], np.uint8),
        ),
        FlowField.from_bytes(record["flow"], _grid(record["flow_size"])),
    )


def _grid(pair: list[int]) -> Grid:
    return int(pair[0]), int(pair[1])


def shard_files(folder: Path, split: str | None = None) -> list[Path]:
    """The shards of a folder in order, of one split or all. Raises `ShardError` where there are none."""
    _refuse_url(folder)
    if not folder.is_dir():
        raise ShardError(f"{folder}: no such folder of shards; build one with hatch-data build")
    files = sorted(folder.glob(f"{split or '*'}-[0-9]*-of-[0-9]*.parquet"))
    if not files:
        what = f"no shards of split '{split}'" if split else "no shards (<split>-00000-of-00001.parquet)"
        raise ShardError(f"{folder}: {what} here; build them with hatch-data build, or finish an interrupted build")
    return files


def open_shard(path: Path) -> pq.ParquetFile:
    """A shard, its schema checked. Raises `ShardError` for a damaged file or one of another form."""
    try:
        file = pq.ParquetFile(path)
        found = _kinds(file.schema_arrow)
    except (pa.ArrowException, OSError) as error:
        raise ShardError(f"{path}: not a readable Parquet file ({_one_line(error)}); rebuild this folder") from None
    missing = [name for name in _KINDS if name not in found]
    if missing:
        raise ShardError(f"{path}: not a shard of this tool: column '{missing[0]}' is missing")
    other = [name for name, kind in _KINDS.items() if found[name] != kind]
    if other:
        raise ShardError(f"{path}: not a shard of this tool: column '{other[0]}' is of another type")
    return file


def _kinds(schema: pa.Schema) -> dict[str, str]:
    """The type of each column, without the names that writers give the elements of lists, and what must not be null."""

    def plain(kind: pa.DataType) -> str:
        return str(kind).replace("<element: ", "<item: ").replace(" not null", "").replace("large_", "")

    return {column.name: plain(column.type) for column in schema}


_KINDS = _kinds(SCHEMA)


def read_rows(
    folder: Path, split: str | None = None, columns: list[str] | None = None, *, sound: bool = True
) -> Iterator[dict[str, Any]]:
    """Records of all shards in order, row group by row group; `columns` limits what is read.

    `from_record` makes a `Row` of a whole record. Raises `ShardError` for damaged files and, unless `sound` is false,
    for rows that cannot be used (`soundness.fault`).
    """
    for path in shard_files(folder, split):
        for group, table in enumerate(read_groups(path, columns, sound=sound)):
            yield from _records(table, path, group)


def read_records(path: Path, group: int, *, sound: bool = True) -> list[dict[str, Any]]:
    """The records of a row group of a shard. Raises `ShardError` as `read_group` does."""
    return _records(read_group(path, group, sound=sound), path, group)


def _records(table: pa.Table, path: Path, group: int) -> list[dict[str, Any]]:
    try:
        return table.to_pylist()
    except (pa.ArrowException, ValueError) as error:
        raise ShardError(f"{path}: row group {group} is damaged ({_one_line(error)}); rebuild this folder") from None


def read_groups(
    path: Path, columns: list[str] | None = None, *, use_threads: bool = True, sound: bool = True
) -> Iterator[pa.Table]:
    """The row groups of a shard in turn; the file is opened once. Raises `ShardError` as `read_group` does."""
    file = open_shard(path)
    for group in range(file.num_row_groups):
        yield _read_group(file, path, group, columns, use_threads, sound)


def read_group(
    path: Path, group: int, columns: list[str] | None = None, *, use_threads: bool = True, sound: bool = True
) -> pa.Table:
    """A row group of a shard. Raises `ShardError` where it is damaged or, if it must be sound, cannot be used."""
    return _read_group(open_shard(path), path, group, columns, use_threads, sound)


def _read_group(
    file: pq.ParquetFile, path: Path, group: int, columns: list[str] | None, use_threads: bool, sound: bool
) -> pa.Table:
    try:
        table = file.read_row_group(group, columns=columns, use_threads=use_threads)
        rows = file.metadata.row_group(group).num_rows
        why = f"{table.num_rows} rows of {rows}" if table.num_rows != rows else fault(table) if sound else None
    except (pa.ArrowException, OSError) as error:
        why = _one_line(error)
    if why:
        raise ShardError(f"{path}: row group {group} is damaged ({why}); rebuild this folder")
    return table


def read_manifest(folder: Path) -> dict[str, Any]:
    """`build.json` of a finished build. Raises `ShardError` where there is none or it is damaged."""
    _refuse_url(folder)
    file = folder / MANIFEST
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        json.dumps(told, ensure_ascii=False).encode()  # Half a surrogate is no text that could be written again.
    except FileNotFoundError:
        raise ShardError(
            f"{folder}: no {MANIFEST}, so no finished build; run hatch-data build again to finish it"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ShardError(f"{file}: damaged ({_one_line(error)}); build again into another folder") from None
    if why := manifest_fault(told):
        raise ShardError(f"{file}: not the manifest of a build ({why}); build again into another folder")
    return told


def _refuse_url(folder: Path) -> None:
    scheme, colon, _ = folder.parts[0].partition(":") if folder.parts else ("", "", "")
    if colon and len(scheme) > 1:
        raise ShardError(f"{folder}: is a URL, which only hatch-data build writes to; copy it to a local folder first")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _leaf_columns() -> list[str]:
    def walk(prefix: str, kind: pa.DataType) -> list[str]:
        if pa.types.is_list(kind):
            return walk(f"{prefix}.list.element", kind.value_type)
        if pa.types.is_struct(kind):
            return [path for child in kind for path in walk(f"{prefix}.{child.name}", child.type)]
        return [prefix]

    return [path for column in SCHEMA for path in walk(column.name, column.type)]


def _features() -> dict[str, Any]:
    """The columns as `datasets.Features` writes them, so that images are decoded without being asked for."""

    def feature(kind: pa.DataType) -> Any:
        if pa.types.is_list(kind):
            return {"feature": feature(kind.value_type), "_type": "List"}
        if pa.types.is_struct(kind):
            return {child.name: feature(child.type) for child in kind}
        return {"dtype": {"double": "float64", "float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}

    features = {column.name: feature(column.type) for column in SCHEMA}
    features["images"] = {"feature": {"_type": "Image"}, "_type": "List"}
    return features
