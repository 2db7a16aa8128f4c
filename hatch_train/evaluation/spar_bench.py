"""SPAR-Bench (arXiv:2503.22976): Parquet, 20 tasks; all, multi-view (`mv`), single-view (`si`), or its Tiny edition.

Native is the scorer of its authors, as lmms-eval ships it. Its faults: an empty choice is part of every answer and
scores 1; a reply that starts with "Answer:" matches A; the error of a camera motion is relative to the *prediction*.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from hatch_train.errors import EvaluationError
from hatch_train.evaluation.answers import letter, mean_relative_accuracy, number, right_letter, without_asides
from hatch_train.evaluation.samples import Benchmark, ParquetRows, Sample, files, mean, with_unique_ids

LOW = tuple(f"{what}_prediction_{which}" for what in ("depth", "distance") for which in ("oc", "oo"))
LOW = (*LOW, *(f"{task}_mv" for task in LOW))
MOTION = "view_change_infer"
BOXES = ("position_matching", "camera_motion_infer")
MIDDLE = (*BOXES, MOTION)
TINY_ROWS = 50

_NUMBER_PROMPT = "Please answer the question using a single word or phrase."
_BOX_PROMPT = (
    "The values represent the bounding box coordinates normalized to a 0-1000 scale, "
    "with the top-left corner as the origin of the image."
)
_LETTER_PROMPT = "Answer with the option's letter from the given choices directly."
#: Signed axes of a camera motion.
AXES = tuple(
    (f"{verb}_{plus}", f"{verb}_{minus}")
    for verb, plus, minus in (
        ("move", "right", "left"),
        ("move", "up", "down"),
        ("move", "forward", "backward"),
        ("rotate", "right", "left"),
        ("rotate", "up", "down"),
    )
)


def read(data: Path, variant: str) -> list[Sample]:
    """Samples of a variant from the published Parquet. Raises `EvaluationError` naming file and remedy."""
    paths = files(data, "*.parquet", "SPAR-Bench" + ("-Tiny" if variant == "tiny" else ""))
    kinds = {"mv": ("multi_view",), "si": ("single_view",)}.get(variant, ("multi_view", "single_view"))
    samples = [
        Sample(
            id=f"{row['task']}/{row['id']}",
            category=row["task"],
            prompt=prompt(row["task"], row["question"]),
            answer=row["answer"],
            images=images,
            measure="MRA" if row["task"] in (*LOW, MOTION) else "accuracy",
            letters="" if row["task"] in (*LOW, MOTION) else "ABCD",
        )
        for row, images in ParquetRows(paths, ("id", "img_type", "task", "question", "answer"), ("image",))
        if row["img_type"] in kinds
    ]
    most = Counter(sample.category for sample in samples).most_common(1)
    if variant == "tiny" and most and most[0][1] > TINY_ROWS:
        raise EvaluationError(f"{data}: {most[0][1]} rows of {most[0][0]}, Tiny has {TINY_ROWS}; give SPAR-Bench-Tiny")
    return with_unique_ids(samples)


def prompt(task: str, question: str) -> str:
    if task in LOW:
        return f"\n{question}\n{_NUMBER_PROMPT}"
    if task == MOTION:
        return f"\n{question}\n\n"
    return f"\n{question}\n{_BOX_PROMPT if task in BOXES else ''}\n{_LETTER_PROMPT}"


def native(sample: Sample, reply: str) -> float:
    """The published scorer's mark, 0 to 1, its faults included."""
    if sample.category == MOTION:
        try:
            said, truth = (_axes(dict(_key_value(item) for item in t.split(","))) for t in (reply, sample.answer))
        except ValueError:
            return 0.0
        return mean(mean_relative_accuracy(t, s) for s, t in zip(said, truth, strict=True))
    if sample.category in LOW:
        numbers = re.findall(r"(?<!\^)\d+\.\d+|(?<!\^)\d+", reply)
        if not numbers:
            return mean_relative_accuracy(-1.0, float(sample.answer)) if sample.category.endswith("_mv") else 0.0
        said_m = float(numbers[-1 if sample.category.endswith("_mv") else 0])
        return mean_relative_accuracy(said_m, float(sample.answer))
    said_text, target = reply.lower(), sample.answer.lower()
    return float(said_text in target or said_text[0] == target)


def _key_value(item: str) -> tuple[str, float]:
    key, value = item.split(":")
    return key, float(value)


def _axes(steps: Mapping[str, float]) -> list[float]:
    return [steps.get(plus, 0.0) - steps.get(minus, 0.0) for plus, minus in AXES]


_STEP = re.compile(r"(move|rotate|turn)_(right|left|up|down|forward|backward)\W{1,4}(\d+(?:\.\d+)?)")


def repaired(sample: Sample, reply: str) -> float:
    if sample.category == MOTION:
        steps = {f"{verb.replace('turn', 'rotate')}_{way}": v for verb, way, v in _STEP.findall(without_asides(reply))}
        if not steps:
            return 0.0
        said = _axes({key: float(value) for key, value in steps.items()})
        truth = _axes(dict(_key_value(item.strip()) for item in sample.answer.split(",")))
        return mean(mean_relative_accuracy(s, t) for s, t in zip(said, truth, strict=True))
    if sample.category in LOW:
        value = number(reply)
        return 0.0 if value is None else mean_relative_accuracy(value, float(sample.answer))
    return right_letter(letter(reply, sample.letters), sample.answer)


def averages(means: Mapping[str, float], _counts: Mapping[str, int]) -> dict[str, float]:
    """Means over the tasks of each level, and over all tasks."""
    level = {task: "low" if task in LOW else "middle" if task in MIDDLE else "high" for task in means}
    found = {name: mean(means[t] for t in means if level[t] == name) for name in ("low", "middle", "high")}
    return {name: value for name, value in found.items() if value == value} | {"average": mean(means.values())}


BENCHMARK = Benchmark("SPAR-Bench", read, native, repaired, averages)
