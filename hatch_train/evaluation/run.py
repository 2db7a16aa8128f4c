"""One evaluation: read, ask, keep the replies, score, report. A run that was killed goes on where it stopped."""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hatch_data.shards import write_text
from hatch_train.errors import EvaluationError, Stopped
from hatch_train.evaluation import benchmark
from hatch_train.evaluation.answers import cut
from hatch_train.evaluation.report import category_figures, sample_set
from hatch_train.evaluation.samples import Benchmark, Sample, spread

SETTINGS, REPLIES, REPORT = "settings.json", "replies.jsonl", "report.json"
#: sample -> its reply, and whether it was cut off.
Asker = Callable[[Sequence[Sample]], "list[tuple[str, bool]]"]


def evaluate(
    name: str, data: Path, out: Path, limit: int | None, batch: int, settings: dict[str, Any], open_asker: Callable[[list[Sample]], Asker]
) -> dict[str, Any]:
    """The report, also in `out`, with every reply. `settings` is what the replies depend on; a folder with replies of
    others is refused. `open_asker` opens the model, if anything is left to ask."""
    bench, variant = benchmark(name)
    samples = spread(bench.read(data, variant), limit)
    if not samples:
        raise EvaluationError(f"{data}: no questions of {name} here")
    replies = _Replies(out, settings)
    left = [sample for sample in samples if sample.key not in replies.said]
    if left:
        ask = open_asker(samples)
        try:
            with tqdm(total=len(samples), initial=len(samples) - len(left), desc=name, file=sys.stderr) as bar:
                for start in range(0, len(left), batch):
                    chunk = left[start : start + batch]
                    replies.add(chunk, ask(chunk))
                    bar.update(len(chunk))
        except KeyboardInterrupt:
            raise Stopped(f"stopped; {len(replies.said)} replies are in {out}; run the same command to go on") from None
    report = score(bench, samples, [replies.said[sample.key] for sample in samples])
    report = {"benchmark": name, "title": bench.title, "data": str(data), **settings, **report}
    write_text(out / REPORT, json.dumps(report, indent=1))
    return report


def score(bench: Benchmark, samples: Sequence[Sample], replies: Sequence[tuple[str, bool]]) -> dict[str, Any]:
    """What the replies, (text, cut off), are worth under both scorers. An empty reply is wrong under both."""
    answers = [cut(text) for text, _ in replies]
    scores = [
        {
            "id": sample.id,
            "category": sample.category,
            "group": sample.group or sample.id,
            "native": bench.native(sample, answer) if answer else 0.0,
            "repaired": bench.repaired(sample, answer) if answer else 0.0,
        }
        for sample, answer in zip(samples, answers, strict=True)
    ]
    grouped: dict[str, list[tuple[Sample, dict[str, Any]]]] = defaultdict(list)
    for sample, one in zip(samples, scores, strict=True):
        grouped[sample.category].append((sample, one))
    categories = {name: category_figures(bench, grouped[name]) for name in sorted(grouped)}
    counts = {name: figures["count"] for name, figures in categories.items()}
    averages = {
        kind: bench.averages({name: figures[kind]["mean"] for name, figures in categories.items()}, counts)
        for kind in ("native", "repaired")
    }
    return {
        "samples": len(samples),
        "sample_set": sample_set(samples),
        "empty": sum(not answer for answer in answers),
        "cut_off": sum(cut_off for _, cut_off in replies),
        "without_answer_tag": sum("<answer>" not in text.lower() for text, _ in replies),
        "averages": averages,
        "categories": categories,
        "scores": scores,
    }


class _Replies:
    """`replies.jsonl`: a line a reply, fsynced after each batch."""

    def __init__(self, out: Path, settings: dict[str, Any]):
        out.mkdir(parents=True, exist_ok=True)
        self.path = out / REPLIES
        self._claim(out / SETTINGS, settings)
        self.said: dict[str, tuple[str, bool]] = {}
        text = self.path.read_bytes() if self.path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):  # the line that a killed run was writing
            os.truncate(self.path, len(whole))
        for number, line in enumerate(whole.decode("utf-8").split("\n")[:-1], 1):
            try:
                row = json.loads(line)
                self.said[row["key"]] = (row["reply"], row["cut_off"])
            except (ValueError, KeyError, TypeError):
                raise EvaluationError(f"{self.path}: line {number} is damaged; delete this line to go on") from None

    def _claim(self, path: Path, settings: dict[str, Any]) -> None:
        if not path.is_file():
            write_text(path, json.dumps(settings, indent=1))
            return
        old = json.loads(path.read_text(encoding="utf-8"))
        for key, value in settings.items():
            if old.get(key) != value:
                what = f"replies with {key} {old.get(key)!r}, not {value!r}"
                raise EvaluationError(f"{path.parent}: holds {what}; use another --out, or delete it")

    def add(self, samples: Sequence[Sample], replies: Sequence[tuple[str, bool]]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            for sample, (text, cut_off) in zip(samples, replies, strict=True):
                self.said[sample.key] = (text, cut_off)
                row = {"key": sample.key, "id": sample.id, "reply": text, "cut_off": cut_off, "answer": sample.answer}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
