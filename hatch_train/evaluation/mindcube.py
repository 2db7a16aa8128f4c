"""MindCube (arXiv:2506.21458): JSON lines and an image folder; `tiny` is MindCube_tinybench.jsonl, 1,050 questions.

Native is the extraction of its authors. Its faults: the last `X.` anywhere wins, so text beside the answer can hijack
it, and its tag is `<Answer>`, with a capital, which the prompt does not ask for.
"""

from __future__ import annotations

import re
from pathlib import Path

from hatch_train.evaluation.answers import letter, right_letter
from hatch_train.evaluation.samples import (
    Benchmark,
    ImageStore,
    Sample,
    files,
    json_rows,
    micro,
    with_unique_ids,
)

LETTERS = "ABCDE"
SETTINGS = ("around", "rotation", "translation", "among")
PROMPT = """[Task]
Your task is to analyze the spatial arrangement of objects in the scene by examining the provided images, which show \
the scene from different viewpoints.
[Answer Instruction]
You only need to provide *ONE* correct answer selecting from the options listed below. For example, if you think the \
correct answer is 'A. Above' from 'A. Above B. Under C. Front D. Behind', your response should **only** be \
'<answer>A. Above</answer>'.

[Question]
"""


def read(data: Path, variant: str) -> list[Sample]:
    """Samples of the published JSON lines. Raises `EvaluationError` naming file and remedy."""
    name = "MindCube_tinybench.jsonl" if variant == "tiny" else "MindCube.jsonl"
    path = files(data, name, "MindCube")[0]
    store = ImageStore(path, data)
    return with_unique_ids(
        [
            Sample(
                id=row["id"],
                category=next((setting for setting in SETTINGS if setting in row["id"].lower()), "other"),
                prompt=PROMPT + row["question"],
                answer=row["gt_answer"],
                images=store.reader(row["images"]),
                letters=LETTERS,
                choices=options(row["question"]),
            )
            for row in json_rows(path, ("id", "question", "images", "gt_answer"))
        ]
    )


def options(question: str) -> tuple[str, ...]:
    """The texts of options written as `A. left B. right` in a question; none where they are not A, B, C ... in turn."""
    found = re.findall(r"\b([A-E])\.\s+(.*?)(?=\s+[A-E]\.\s|$)", question, re.DOTALL)
    in_turn = "".join(name for name, _ in found) == LETTERS[: len(found)]
    return tuple(text.strip() for _, text in found) if in_turn else ()


_IN_TAG = (
    r"[Mm]y answer is ([A-E])",
    r"[Tt]he answer is ([A-E])",
    r"\b([A-E])\b",
)
_ANYWHERE = (
    r"(?:Answer: )?([A-E])(?:\.|$|\s)",
    r"(?:^|\n)(?:Answer: )?([A-E])(?:\.|$|\s)",
    r"[\*\"]([A-E])[\*\"]",
    r"\bAnswer:?\s*([A-E])\b",
    r"[Mm]y answer is ([A-E])",
    r"answer is ([A-E])",
)


def extract(text: str) -> str | None:
    """The letter that the published scorer takes from a reply."""
    if dotted := re.findall(r"([A-E])\.", text):
        return dotted[-1]
    if tagged := re.search(r"<Answer>(.*?)(?:<|$)", text, re.DOTALL):
        for pattern in _IN_TAG:
            if found := re.findall(pattern, tagged[1]):
                return found[-1]
    for pattern in _ANYWHERE:
        if found := re.findall(pattern, text):
            return found[-1]
    for line in reversed(text.split("\n")):
        if match := re.search(r"\b([A-E])\b", line):
            return match[1]
    return None


def native(sample: Sample, reply: str) -> float:
    return float(extract(reply) == sample.answer)


def repaired(sample: Sample, reply: str) -> float:
    return right_letter(letter(reply, LETTERS[: len(sample.choices)] or LETTERS, sample.choices), sample.answer)


BENCHMARK = Benchmark("MindCube", read, native, repaired, micro)
