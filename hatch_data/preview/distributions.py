"""How the rows of a folder are distributed: overlap, rotation and distance between the first two views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from hatch_data.preview.choose import Entry
from hatch_data.sampling import rotation_between_deg
from hatch_data.shards import read_group
from hatch_data.spread import MAP_COLUMNS, first_two_poses, mean_overlap

#: Rows after which no further row group is read; the groups that are read are evenly spaced over the folder.
ENOUGH_ROWS = 4000


@dataclass(frozen=True)
class Distribution:
    """What was measured, its unit, one value per row looked at, and the edges of its histogram."""

    name: str
    unit: str
    values: NDArray[np.float64]
    edges: NDArray[np.float64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Rows per bin; what lies beyond the outer edges counts in the outer bins."""
        return np.histogram(np.clip(self.values, self.edges[0], self.edges[-1]), self.edges)[0]


def measure(rows: Sequence[Entry]) -> tuple[list[Distribution], int]:
    """Overlap, rotation and distance of the rows' first two views, and from how many rows."""
    groups = [next(members) for _, members in groupby(rows, key=lambda row: (row.shard, row.group))]
    step = max(1, round(len(rows) / ENOUGH_ROWS))
    tables = [read_group(entry.shard, entry.group, ["world_from_camera", *MAP_COLUMNS]) for entry in groups[::step]]
    looked_at = sum(len(table) for table in tables)
    first, second = (np.concatenate(poses) for poses in zip(*map(first_two_poses, tables), strict=True))
    overlap = np.concatenate([mean_overlap(table) for table in tables])
    rotation = rotation_between_deg(first, second)
    distance = np.linalg.norm(first[:, :3, 3] - second[:, :3, 3], axis=-1)
    return [
        Distribution("overlap", "%", 100 * overlap, np.linspace(0, 100, 21)),
        Distribution("rotation", "°", rotation, _edges(rotation, 5.0)),
        Distribution("distance", "m", distance, _edges(distance, 0.1)),
    ], looked_at


def _edges(values: NDArray[np.float64], finest: float) -> NDArray[np.float64]:
    """Round bins, about 20 of them, that hold all but the largest hundredth of the values."""
    top = float(np.quantile(values, 0.99)) if len(values) else finest
    width = next(finest * m for m in (1, 2, 4, 10, 20, 40, 100, 1000) if top <= 24 * finest * m or m == 1000)
    bins = max(8, int(np.ceil(top / width)))
    return np.linspace(0, bins * width, bins + 1)
