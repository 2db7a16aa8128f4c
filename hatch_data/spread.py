"""How the rows of a shard are distributed: counts in fixed bins, so that those of many shards add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hatch_data.sampling import rotation_between_deg
from hatch_data.shards import read_groups

#: Measure -> (unit, width of a bin, greatest bin, which takes in all beyond).
BINS = {"overlap": ("%", 5.0, 19), "rotation": ("°", 10.0, 17), "baseline": ("m", 0.25, 40)}
#: All of a map, though not all is counted: as a whole it can be held to be sound.
MAP_COLUMNS = [
    f"matches.list.element.{name}"
    for name in ("source_grid", "target_grid", "source_patch", "target_patch", "weight", "valid", "visibility")
]
_COLUMNS = ["task", "form", "answer", "world_from_camera", *MAP_COLUMNS]

#: `tasks`: {task: rows}; `answers`: {task: {letter: rows}} of multiple choices; each of `BINS`: {number of bin: rows}.
Spread = dict[str, dict[str, Any]]


def spread_of(shard: Path) -> Spread:
    """What the small columns of a shard say, row group by row group. Raises `ShardError` where one is unsound."""
    return total(of_table(table) for table in read_groups(shard, _COLUMNS))


def total(spreads: Iterable[Spread]) -> Spread:
    """The sum of several."""
    flat: dict[str, Counter[str]] = {name: Counter() for name in ("tasks", *BINS)}
    answers: dict[str, Counter[str]] = {}
    for spread in spreads:
        for name, counts in flat.items():
            counts.update(spread.get(name, {}))
        for task, counts in spread.get("answers", {}).items():
            answers.setdefault(task, Counter()).update(counts)
    found: Spread = {name: _in_order(counts) for name, counts in flat.items()}
    found["answers"] = {task: _in_order(answers[task]) for task in sorted(answers)}
    return found


def _in_order(counts: Counter[str]) -> dict[str, int]:
    return {key: counts[key] for key in sorted(counts, key=lambda key: (len(key), key) if key.isdigit() else (0, key))}


def of_table(table: pa.Table) -> Spread:
    """What the rows of one table of `shards.SCHEMA` say."""
    tasks, forms, answers = (table[name].to_pylist() for name in ("task", "form", "answer"))
    letters: dict[str, Counter[str]] = {}
    for task, form, answer in zip(tasks, forms, answers, strict=True):
        if form == "choice":
            letters.setdefault(task, Counter())[answer] += 1
    first, second = first_two_poses(table)
    values = {
        "overlap": 100 * mean_overlap(table),
        "rotation": rotation_between_deg(first, second),
        "baseline": np.linalg.norm(first[:, :3, 3] - second[:, :3, 3], axis=-1),
    }
    found: Spread = {"tasks": Counter(tasks), "answers": dict(letters)}
    for name, (_, width, last) in BINS.items():
        found[name] = Counter(map(str, np.clip(values[name] // width, 0, last).astype(int).tolist()))
    return found


def first_two_poses(table: pa.Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`world_from_camera` (rows, 4, 4) of the first and of the second view of each row that has two."""
    poses = [row[:2] for row in table["world_from_camera"].to_pylist() if len(row) > 1]
    both = np.array(poses, np.float64).reshape(-1, 2, 4, 4)
    return both[:, 0], both[:, 1]


def mean_overlap(table: pa.Table) -> NDArray[np.float64]:
    """The overlap (`PatchMap.overlap`) of each row that has maps, the mean over its maps, without a loop over rows."""
    matches = table["matches"].combine_chunks()
    maps_of_row = np.diff(matches.offsets.to_numpy())
    fields = {name: matches.values.field(name) for name in ("source_patch", "weight", "valid")}
    starts = {name: array.offsets.to_numpy().astype(np.int64) for name, array in fields.items()}
    source, weight, valid = (fields[name].values.to_numpy() for name in ("source_patch", "weight", "valid"))
    maps = len(starts["valid"]) - 1
    map_of_entry = np.repeat(np.arange(maps), np.diff(starts["weight"]))
    map_of_patch = np.repeat(np.arange(maps), np.diff(starts["valid"]))
    seen = np.bincount(map_of_entry, weight * valid[starts["valid"][map_of_entry] + source], maps)
    whole = np.bincount(map_of_patch, valid, maps)
    overlap = seen / np.maximum(whole, 1e-12)
    sums = np.bincount(np.repeat(np.arange(len(maps_of_row)), maps_of_row), overlap, len(maps_of_row))
    mapped = maps_of_row > 0
    return sums[mapped] / maps_of_row[mapped]
