"""MMSI-Bench (arXiv:2505.23764): one Parquet file, 1,000 questions of 11 types, images as raw bytes.

Native is the scorer of its authors: ``X``, then `X`, then {X}, then the first lone letter not before a word. Its
faults: the braces of any JSON in the reply count, and of a sentence about several options the first.
"""

from __future__ import annotations

import re
from pathlib import Path

from hatch_train.evaluation.answers import letter, right_letter
from hatch_train.evaluation.samples import Benchmark, ParquetRows, Sample, files, micro, with_unique_ids

LETTERS = "ABCD"
INSTRUCTION = "Answer with the option's letter from the given choices directly. Enclose the option's letter within ``."


def read(data: Path, _variant: str) -> list[Sample]:
    """Samples of the published Parquet file. Raises `EvaluationError` naming file and remedy."""
    columns = ("id", "question_type", "question", "answer")
    return with_unique_ids(
        [
            Sample(
                id=str(row["id"]),
                category=row["question_type"],
                prompt=f"{row['question'].strip()}\n{INSTRUCTION}",
                answer=row["answer"],
                images=images,
                letters=LETTERS,
                choices=options(row["question"]),
            )
            for row, images in ParquetRows(files(data, "*.parquet", "MMSI-Bench"), columns, ("images",))
        ]
    )


def options(question: str) -> tuple[str, ...]:
    """The texts of `Options: A: left, B: right, C: ...`; none where the four are not there."""
    found = re.findall(r"\b([A-D])[:.]\s*(.*?)(?=,?\s*\b[A-D][:.]\s|$)", question.rpartition("Options:")[2], re.DOTALL)
    return tuple(text.strip() for _, text in found) if "".join(name for name, _ in found) == LETTERS else ()


def native(sample: Sample, reply: str) -> float:
    for pattern in (r"``([^`]*)``", r"`([^`]*)`", r"\{([^}]*)\}"):
        if match := re.search(pattern, reply):
            reply = match[1]
    match = re.search(r"\b[A-D]\b(?!\s[a-zA-Z])", reply)
    return float(match is not None and match[0] == sample.answer.strip().upper())


def repaired(sample: Sample, reply: str) -> float:
    return right_letter(letter(reply, LETTERS, sample.choices), sample.answer)


BENCHMARK = Benchmark("MMSI-Bench", read, native, repaired, micro)
