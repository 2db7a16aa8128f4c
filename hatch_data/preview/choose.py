"""Which rows of a folder are shown, and where they lie in its shards."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from hatch_data.errors import ShardError
from hatch_data.shards import SPLITS, Row, from_record, read_group, read_groups, shard_files


@dataclass(frozen=True)
class Entry:
    """One row of a folder: what it is, and its shard, row group, and place in the group."""

    id: str
    scene: str
    task: str
    split: str
    shard: Path
    group: int
    offset: int


def entries(folder: Path) -> list[Entry]:
    """All rows of a folder, splits in the order train, validation, test. Raises `ShardError`."""
    found = []
    for shard in sorted(shard_files(folder), key=lambda path: (_rank(_split(path)), path.name)):
        for group, table in enumerate(read_groups(shard, ["id", "scene", "task"])):
            columns = (table[name].to_pylist() for name in ("id", "scene", "task"))
            for offset, (row_id, scene, task) in enumerate(zip(*columns, strict=True)):
                found.append(Entry(row_id, scene, task, _split(shard), shard, group, offset))
    if not found:
        raise ShardError(f"{folder}: its shards hold no rows; nothing to show")
    return found


def spread(rows: list[Entry], count: int) -> list[Entry]:
    """`count` of the rows, the same ones every time, in the order in which they lie.

    Every pair of split and task gets the same share, as far as it has rows (with fewer to show than there are such
    pairs, evenly spaced ones get one each); the rows of a pair are evenly spaced over the shards, so over scenes and
    time.
    """
    strata: dict[tuple[int, str], list[int]] = {}
    for place, row in enumerate(rows):
        strata.setdefault((_rank(row.split), row.task), []).append(place)
    members = [strata[key] for key in sorted(strata)]
    count = min(count, len(rows))
    quota = [0] * len(members)
    if count < len(members):
        for k in _evenly(count, len(members)):
            quota[k] = 1
    while (missing := count - sum(quota)) and count >= len(members):
        open_strata = [k for k, stratum in enumerate(members) if quota[k] < len(stratum)]
        for k in open_strata[:missing]:
            quota[k] += 1
    chosen = [stratum[k] for stratum, n in zip(members, quota, strict=True) for k in _evenly(n, len(stratum))]
    return [rows[place] for place in sorted(chosen)]


def by_id(rows: list[Entry], wanted: str, folder: Path) -> Entry:
    """The row with this id, or the only one whose id begins so. Raises `ShardError` that names the nearest."""
    exact = [row for row in rows if row.id == wanted]
    starting = exact or [row for row in rows if wanted and row.id.startswith(wanted)]
    if len(starting) == 1 or exact:
        return starting[0]
    if starting:
        raise ShardError(
            f"{folder}: {len(starting)} row ids begin with '{wanted}', among them {starting[0].id} and "
            f"{starting[1].id}; give more of it"
        )
    near = difflib.get_close_matches(wanted, [row.id for row in rows], n=1)
    hint = f"the nearest is {near[0]}" if near else "list some with hatch-data inspect DIR --rows 50 --json"
    raise ShardError(f"{folder}: no row has the id '{wanted}'; {hint}")


def load(chosen: list[Entry]) -> Iterator[tuple[Entry, Row]]:
    """The rows themselves; each row group is read once where neighbours follow each other."""
    for (shard, group), members in groupby(chosen, key=lambda entry: (entry.shard, entry.group)):
        table = read_group(shard, group)
        for entry in members:
            yield entry, from_record(table.slice(entry.offset, 1).to_pylist()[0])


def _evenly(count: int, total: int) -> list[int]:
    """`count` different numbers below `total`, evenly spaced, away from the ends."""
    return [(2 * k + 1) * total // (2 * count) for k in range(count)]


def _split(shard: Path) -> str:
    return shard.name.rsplit("-", 3)[0]


def _rank(split: str) -> int:
    return SPLITS.index(split) if split in SPLITS else len(SPLITS)
