"""What a shard and a manifest must be for the rest to be read without a further look: types, lengths, nothing missing.

`hatch-data verify` holds what they say against the truth; this only says whether it can be read at all.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BaseModel, ConfigDict, NonNegativeInt, ValidationError

from hatch_data.geometry import LONGEST_SIDE_PX
from hatch_data.patches import FLOW_CODE, FLOW_STEPS, UNDECIDED

#: Columns with an entry for each image, and the numbers that an entry has.
_PER_IMAGE = {"images": None, "image_sizes": 2, "intrinsics": 4, "world_from_camera": 16}
#: Lists of a match, and the numbers they have.
_PER_MATCH = {"source_grid": 2, "target_grid": 2, "flow_size": 2}


def fault(table: pa.Table) -> str | None:
    """Why rows (of all or some columns) cannot be used, None where they can."""
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        return " ".join(str(error).split())
    rows = table.combine_chunks()
    for name in rows.column_names:
        if _has_null(rows[name].combine_chunks()):
            return f"column '{name}' has a null"
    columns = {name: _whole(rows[name]) for name in rows.column_names}
    return _images_fault(columns) or _markers_fault(columns) or _matches_fault(columns)


def _images_fault(columns: dict[str, pa.Array]) -> str | None:
    counts = {name: pc.list_value_length(columns[name]) for name in ("frames", *_PER_IMAGE) if name in columns}
    first = next(iter(counts.values()), None)
    for name, count in counts.items():
        if not count.equals(first):
            return f"column '{name}' has not one entry an image"
        length = _PER_IMAGE.get(name)
        if length and not _all(pc.equal(pc.list_value_length(columns[name].flatten()), length)):
            return f"an entry of column '{name}' is not {length} numbers"
    if "image_sizes" in columns and not _within(columns["image_sizes"].flatten().flatten(), 1, LONGEST_SIDE_PX):
        return "column 'image_sizes' has a size that no image has"
    for name in columns.keys() & {"intrinsics", "world_from_camera", "up"}:
        numbers = columns[name].flatten()
        if not _all(pc.is_finite(numbers if name == "up" else numbers.flatten())):
            return f"column '{name}' has a number that is not finite"
    if "up" in columns and not _all(pc.equal(pc.list_value_length(columns["up"]), 3)):
        return "column 'up' is not 3 numbers"
    for name in ("actions", "matches", "markers"):
        if name in columns and first is not None:
            owner = pc.list_parent_indices(columns[name])
            images = first.take(owner)
            for end in {"source", "target", "image"} & {field.name for field in columns[name].type.value_type}:
                number = columns[name].flatten().field(end)
                if not _all(pc.and_(pc.greater_equal(number, 0), pc.less(number, images))):
                    return f"column '{name}' tells of an image that the row does not have"
    return None


def _markers_fault(columns: dict[str, pa.Array]) -> str | None:
    if "markers" not in columns:
        return None
    boxes = columns["markers"].flatten().field("box")
    if not _all(pc.equal(pc.list_value_length(boxes), 4)):
        return "a box of 'markers' is not 4 numbers"
    left, top, right, bottom = (pc.list_element(boxes, k) for k in range(4))
    in_order = pc.and_(pc.less_equal(left, right), pc.less_equal(top, bottom))
    if not (_all(in_order) and _within(boxes.flatten(), 0, 1)):
        return "a box of 'markers' does not lie within its image"
    return None


def _matches_fault(columns: dict[str, pa.Array]) -> str | None:
    if "matches" not in columns:
        return None
    matches = columns["matches"].flatten()
    fields = {field.name: matches.field(field.name) for field in matches.type}
    for name, length in _PER_MATCH.items():
        if name in fields:
            if not _all(pc.equal(pc.list_value_length(fields[name]), length)):
                return f"an entry of 'matches.{name}' is not {length} numbers"
            if not _within(fields[name].flatten(), 1, LONGEST_SIDE_PX):
                return f"'matches.{name}' has a size that no image has"
    if fields.keys() >= {"flow", "flow_size"}:
        cells = pc.multiply(pc.list_element(fields["flow_size"], 0), pc.list_element(fields["flow_size"], 1))
        if not _all(pc.equal(pc.binary_length(fields["flow"]), pc.multiply(cells, 4))):
            return "'matches.flow' has not 4 bytes for each cell of its size"
        if not _leads_somewhere(fields["flow"]):
            return "'matches.flow' has a number that is neither a position nor a code"
    if fields.keys() >= {"source_grid", "target_grid", "source_patch", "target_patch", "weight", "valid", "visibility"}:
        return _maps_fault(fields)
    return None


def _leads_somewhere(flow: pa.Array) -> bool:
    """Whether all numbers of flow fields (`patches.FlowField`) are such that kernels may count by them."""
    whole = flow.cast(pa.large_binary())
    _, offsets, data = whole.buffers()
    ends = np.frombuffer(offsets, np.int64)[whole.offset :][[0, len(whole)]] if len(whole) else np.zeros(2, np.int64)
    if ends[0] == ends[1]:
        return True
    x, y = np.frombuffer(data, "<u2", (ends[1] - ends[0]) // 2, ends[0]).reshape(-1, 2).T
    codes = (x >= FLOW_CODE) & (x <= FLOW_CODE + UNDECIDED)
    return bool(((x <= FLOW_STEPS) | codes).all() and (y <= FLOW_STEPS).all())


def _maps_fault(fields: dict[str, pa.Array]) -> str | None:
    """Lists of a map are as long as each other, or as its grid has patches, and tell of patches of its grids."""
    lengths = {name: pc.list_value_length(fields[name]) for name in ("source_patch", "target_patch", "weight")}
    if not lengths["source_patch"].equals(lengths["target_patch"]) or not lengths["weight"].equals(
        lengths["source_patch"]
    ):
        return "'matches' have not one weight for each pair of patches"
    for side in ("source", "target"):
        grid = fields[f"{side}_grid"]
        patches = pc.multiply(pc.list_element(grid, 0), pc.list_element(grid, 1))
        numbers = fields[f"{side}_patch"]
        if not _all(pc.less(numbers.flatten(), patches.take(pc.list_parent_indices(numbers)))):
            return f"'matches.{side}_patch' tells of a patch that its grid does not have"
        if side == "source":
            for name in ("valid", "visibility"):
                if not pc.list_value_length(fields[name]).equals(patches):
                    return f"'matches.{name}' has not one number a patch"
    return None


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _all(mask: pa.Array) -> bool:
    return bool(pc.all(mask, min_count=0).as_py())


def _within(numbers: pa.Array, least: int, most: int) -> bool:
    return _all(pc.and_(pc.greater_equal(numbers, least), pc.less_equal(numbers, most)))


def _has_null(array: pa.Array | pa.ChunkedArray) -> bool:
    if isinstance(array, pa.ChunkedArray):
        return any(_has_null(chunk) for chunk in array.chunks)
    if array.null_count:
        return True
    if pa.types.is_list(array.type):
        return _has_null(array.flatten())
    if pa.types.is_struct(array.type):
        # Images that are embedded may lack a path.
        return any(_has_null(array.field(f.name)) for f in array.type if f.name != "path")
    return False


def _bare(name: str) -> str:
    if PurePath(name).name != name or "\0" in name:
        raise ValueError(f"'{name[:80]}' is no name of a file in this folder")
    return name


class _Told(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Shard(_Told):
    file: Annotated[str, AfterValidator(_bare)]
    split: Literal["train", "validation", "test"]
    rows: NonNegativeInt
    sha256: str


class _Scene(_Told):
    scene: str
    space: str
    layout: str
    up_source: str
    frames: NonNegativeInt
    groups: NonNegativeInt
    used_frames: NonNegativeInt
    failure: str | None
    rows: dict[str, NonNegativeInt]
    tasks: dict[str, NonNegativeInt]
    dropped_frames: dict[str, NonNegativeInt]
    left_out_pairs: dict[str, NonNegativeInt]
    rejected_questions: dict[str, NonNegativeInt]
    shards: list[_Shard]


class _Totals(_Told):
    rows: dict[Annotated[str, AfterValidator(_bare)], NonNegativeInt]
    tasks: dict[str, NonNegativeInt]
    rejected_questions: dict[str, NonNegativeInt]
    dropped_frames: dict[str, NonNegativeInt]
    left_out_pairs: dict[str, NonNegativeInt]


class _Split(_Told):
    by: str


class _Recipe(_Told):
    seed: int
    questions_from: str


class _Plan(_Told):
    version: str
    recipe: _Recipe
    scans: dict[str, Any]


class _Manifest(_Told):
    plan: _Plan
    recipe_digest: str
    scenes: dict[str, _Scene]
    totals: _Totals
    split: _Split
    versions: dict[str, str]


def manifest_fault(told: Any) -> str | None:
    """Why what `build.json` holds is no manifest of a build, None where it is one."""
    try:
        _Manifest.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {' '.join(first['msg'].split())}"[:300]
    return None
