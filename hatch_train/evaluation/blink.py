"""BLINK (arXiv:2404.12390): Parquet, the validation split, 14 sub-tasks of 1-4 images.

Native is the scorer of lmms-eval: the first letter of the reply, so that "Based on the images, C" is B.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hatch_train.evaluation.answers import letter, right_letter
from hatch_train.evaluation.samples import Benchmark, ParquetRows, Sample, files, macro, micro, with_unique_ids

LETTERS = "ABCDEFGH"


def read(data: Path, _variant: str) -> list[Sample]:
    columns = ("idx", "sub_task", "prompt", "choices", "answer")
    images = tuple(f"image_{number}" for number in range(1, 5))
    rows = ParquetRows(files(data, "val*.parquet", "BLINK"), columns, images)
    return with_unique_ids([sample(row, reader, row["sub_task"]) for row, reader in rows])


def sample(row: Mapping[str, Any], images: Callable[[], list[bytes]], category: str) -> Sample:
    """A question of BLINK's form, which CV-Bench shares."""
    return Sample(
        id=str(row["idx"]),
        category=category,
        prompt=row["prompt"],
        answer=row["answer"].strip("() "),
        images=images,
        letters=LETTERS[: len(row["choices"])],
        choices=tuple(row["choices"]),
    )


def native(sample: Sample, reply: str) -> float:
    match = re.match(r"[\(\s]*([A-Z])[\)\.\s]*", reply.strip(), re.IGNORECASE)
    return float(match is not None and match[1].upper() == sample.answer)


def repaired(sample: Sample, reply: str) -> float:
    return right_letter(letter(reply, sample.letters, sample.choices), sample.answer)


def averages(means: Mapping[str, float], counts: Mapping[str, int]) -> dict[str, float]:
    """Over the sub-tasks, as its authors average, and over the samples, as lmms-eval does."""
    return macro(means, counts) | {"over samples": micro(means, counts)["average"]}


BENCHMARK = Benchmark("BLINK", read, native, repaired, averages)
