"""The held-out rows of shards that hatch-data built: `test` where there are any, else `validation`.

Native is what training reports: the answer as it is written, but for capitals. Repaired reads options, numbers with
their relative accuracy, and action lists, whatever stands around them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hatch_data.actions import parse_lenient, parse_text
from hatch_data.errors import ActionError
from hatch_train.data import Shards
from hatch_train.errors import EvaluationError
from hatch_train.evaluation.answers import letter, mean_relative_accuracy, number, right_letter
from hatch_train.evaluation.samples import Benchmark, Sample, macro
from hatch_train.images import IMAGE_COLUMNS, shown

SMALL = (
    *("task", "form", "scene", "frames", "image_sizes", "world_from_camera", "up"),
    *("question", "answer", "options", "actions", "messages"),
)
LETTERS = "ABCDEFGH"
_QUANTITY = re.compile(r"[-+]?\d+(?:\.\d+)?(?: ?(?:m|cm|deg|degrees|%))?")


def open_shards(data: Path, variant: str) -> Shards:
    """The held-out rows. Raises `EvaluationError` where there are none."""
    for split in (variant,) if variant else ("test", "validation"):
        shards = Shards([str(data)], split, SMALL)
        if len(shards):
            return shards
    raise EvaluationError(f"{data}: no rows of split {variant or 'test or validation'}; build with a held-out split")


def read(data: Path, variant: str) -> list[Sample]:
    shards = open_shards(data, variant)
    return [_sample(row, partial(_images, shards, number)) for number, row in enumerate(shards.rows)]


def _images(shards: Shards, number: int) -> list[bytes]:
    return shown(shards.read(number, IMAGE_COLUMNS))


def _sample(row: dict[str, Any], images: Callable[[], list[bytes]]) -> Sample:
    choice = row["form"] == "choice"
    return Sample(
        id=row["id"],
        category=f"{row['task']} {row['form']}",
        prompt=next(turn["content"] for turn in row["messages"] if turn["role"] == "user"),
        answer=row["answer"],
        images=images,
        measure="MRA" if not choice and _QUANTITY.fullmatch(row["answer"]) else "accuracy",
        letters=LETTERS[: len(row["options"])] if choice else "",
        choices=tuple(row["options"]) if choice else (),
        group=row["scene"],
    )


def native(sample: Sample, reply: str) -> float:
    return float(reply.casefold() == sample.answer.casefold())


def repaired(sample: Sample, reply: str) -> float:
    if sample.letters:
        return right_letter(letter(reply, sample.letters, sample.choices), sample.answer)
    if sample.measure == "MRA":
        said, truth = number(reply), number(sample.answer)
        return 0.0 if said is None or truth is None else mean_relative_accuracy(said, truth)
    try:
        return float(parse_lenient(reply) == parse_text(sample.answer))
    except ActionError:
        return float(_words(reply) == _words(sample.answer))


def _words(text: str) -> list[str]:
    return re.findall(r"[\w.-]*\w", text.casefold())


BENCHMARK = Benchmark("Held-out rows", read, native, repaired, macro)
