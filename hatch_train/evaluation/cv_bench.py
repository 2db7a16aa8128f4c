"""CV-Bench (arXiv:2406.16860): Parquet, one image a question; 2D from ADE20K and COCO, 3D from Omni3D.

Native is the first letter of the reply, as in BLINK. The average is its authors': half 2D (the mean of its two
sources), half 3D.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hatch_train.evaluation import blink
from hatch_train.evaluation.samples import Benchmark, ParquetRows, Sample, files, mean, with_unique_ids


def read(data: Path, _variant: str) -> list[Sample]:
    columns = ("idx", "type", "task", "prompt", "choices", "answer", "source")
    rows = ParquetRows(files(data, "*.parquet", "CV-Bench"), columns, ("image",))
    return with_unique_ids(
        [blink.sample(row, images, f"{row['type']} {row['task']} ({row['source']})") for row, images in rows]
    )


def averages(means: Mapping[str, float], counts: Mapping[str, int]) -> dict[str, float]:
    """Over samples within each source; then the mean of the two 2D sources; then of 2D and 3D."""
    sources: dict[tuple[str, str], list[str]] = {}
    for category in means:
        sources.setdefault((category[:2], category.rpartition("(")[2]), []).append(category)
    by_source = {
        key: sum(means[c] * counts[c] for c in group) / sum(counts[c] for c in group) for key, group in sources.items()
    }
    found = {kind: mean(value for (k, _), value in by_source.items() if k == kind) for kind in ("2D", "3D")}
    found = {kind: value for kind, value in found.items() if value == value}
    return found | {"average": mean(found.values())}


BENCHMARK = Benchmark("CV-Bench", read, blink.native, blink.repaired, averages)
