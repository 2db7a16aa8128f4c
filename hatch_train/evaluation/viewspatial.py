"""ViewSpatial-Bench (arXiv:2505.21500): JSON and zipped images, 5,712 questions of 5 types.

Native is the scorer of its authors: in the last line the first lone letter a-d whatever its case, so that the article
in "It is a bit to the right: C" is an A.
"""

from __future__ import annotations

import re
from pathlib import Path

from hatch_train.evaluation.answers import letter, right_letter
from hatch_train.evaluation.samples import Benchmark, ImageStore, Sample, files, json_rows, micro

LETTERS = "ABCD"


def read(data: Path, _variant: str) -> list[Sample]:
    """Samples of the published JSON. Raises `EvaluationError` naming file and remedy."""
    path = files(data, "ViewSpatial-Bench.json", "ViewSpatial-Bench")[0]
    store = ImageStore(path, data)
    keys = ("question_type", "image_path", "question", "choices", "answer")
    return [
        Sample(
            id=str(number),
            category=row["question_type"],
            prompt=f"Question: {row['question']}\nChoices: {row['choices']}\n"
            "Reply only to the corresponding option.\nAnswer:",
            answer=row["answer"],
            images=store.reader(row["image_path"]),
            letters=LETTERS[: len(row["choices"].strip().split("\n"))],
            choices=tuple(re.sub(r"^[A-D]\.\s*", "", line) for line in row["choices"].strip().split("\n")),
        )
        for number, row in enumerate(json_rows(path, keys))
    ]


def _first_letter(text: str) -> str | None:
    match = re.search(r"\b([A-D])\b", text, re.IGNORECASE)
    return match[1].upper() if match else None


def native(sample: Sample, reply: str) -> float:
    return float(_first_letter(reply.split("\n")[-1]) == _first_letter(sample.answer))


def repaired(sample: Sample, reply: str) -> float:
    return right_letter(letter(reply, sample.letters, sample.choices), sample.answer)


BENCHMARK = Benchmark("ViewSpatial-Bench", read, native, repaired, micro)
