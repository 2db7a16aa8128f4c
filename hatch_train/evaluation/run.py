"""One evaluation: read, ask, keep the replies, score, report. A run that was killed goes on where it stopped."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hatch_data.shards import write_text
from hatch_train.errors import EvaluationError, Stopped
from hatch_train.evaluation import benchmark, generation, probes
from hatch_train.evaluation.answers import cut
from hatch_train.evaluation.generation import Reply
from hatch_train.evaluation.report import category_figures, overall_figures, picture, sample_set
from hatch_train.evaluation.samples import Benchmark, Sample, spread
from hatch_train.model import VisionLanguageModel

SETTINGS, REPLIES, REPORT, PICTURE = "settings.json", "replies.jsonl", "report.json", "report.png"


@dataclass(frozen=True)
class Request:
    """What is to be evaluated. `prompt` is `plain`, as published, or `action`, which asks for actions before the
    answer. `max_pixels` bounds an image; None leaves it as the checkpoint has it."""

    checkpoint: str
    benchmark: str
    data: Path
    out: Path | None = None
    limit: int | None = None
    prompt: str = "plain"
    batch: int = 8
    backend: str = "transformers"
    max_new_tokens: int = 2048
    max_pixels: int | None = None

    @property
    def folder(self) -> Path:
        slug = re.sub(r"[^\w.-]+", "-", self.checkpoint).strip("-.")
        return self.out or Path("out/eval") / f"{slug}-{self.benchmark}-{self.prompt}"

    @property
    def instruction(self) -> str:
        return generation.ACTION_INSTRUCTION if self.prompt == "action" else ""

    @property
    def settings(self) -> dict[str, Any]:
        """What the replies depend on."""
        names = ("checkpoint", "benchmark", "prompt", "backend", "max_new_tokens", "max_pixels")
        return {name: getattr(self, name) for name in names} | {"files": generation.fingerprint(self.checkpoint)}


def evaluate(request: Request) -> dict[str, Any]:
    """The report; also in `request.folder`, with every reply and a picture.

    Raises `Stopped` on Ctrl-C, the replies kept; `EvaluationError` for anything wrong with the data.
    """
    bench, variant = benchmark(request.benchmark)
    samples = spread(bench.read(request.data, variant), request.limit)
    if not samples:
        raise EvaluationError(f"{request.data}: no questions of {request.benchmark} here")
    replies = _Replies(request.folder, request.settings)
    left = [sample for sample in samples if sample.key not in replies.said]
    probing = request.benchmark.startswith("held_out") and request.backend == "transformers"
    model = None
    if probing or (left and request.backend == "transformers"):
        model = generation.open_model(request.checkpoint, request.max_pixels)
    if left:
        _ask(request, _answerer(request, model), left, replies, len(samples))
    said = [replies.said[sample.key] for sample in samples]
    report = {"title": bench.title, "data": str(request.data), **request.settings, **score(bench, samples, said)}
    if request.benchmark.startswith("held_out"):
        texts = {sample.id: text for sample, (text, _) in zip(samples, said, strict=True)}
        report["probes"] = probes.actions(request.data, variant, texts) if request.prompt == "action" else {}
        if model is not None:
            report["probes"] |= probes.matching(model, request.data, variant)
    write_text(request.folder / REPORT, json.dumps(report, indent=1))
    picture(report, request.folder / PICTURE)
    return report


def _answerer(request: Request, model: VisionLanguageModel | None) -> generation.Answerer:
    if model is not None:
        return generation.Transformers(model, request.max_new_tokens)
    return generation.Vllm(request.checkpoint, request.max_pixels, request.max_new_tokens)


def _ask(
    request: Request, answerer: generation.Answerer, left: Sequence[Sample], replies: _Replies, total: int
) -> None:
    try:
        with tqdm(total=total, initial=total - len(left), desc=request.benchmark, file=sys.stderr) as bar:
            for start in range(0, len(left), request.batch):
                chunk = left[start : start + request.batch]
                replies.add(chunk, answerer.reply(chunk, request.instruction))
                bar.update(len(chunk))
    except KeyboardInterrupt:
        kept = f"{len(replies.said)} replies are in {request.folder}"
        raise Stopped(f"stopped; {kept}; run the same command to go on") from None


def score(bench: Benchmark, samples: Sequence[Sample], replies: Sequence[Reply]) -> dict[str, Any]:
    """What the replies are worth under both scorers. An empty reply is wrong under both."""
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
        "overall": overall_figures(scores, categories),
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
        self.said: dict[str, Reply] = {}
        text = self.path.read_bytes() if self.path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):  # the line that a killed run was writing
            os.truncate(self.path, len(whole))
        for number, line in enumerate(whole.decode("utf-8").split("\n")[:-1], 1):
            try:
                row = json.loads(line)
                self.said[row["key"]] = Reply(row["text"], row["cut_off"])
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

    def add(self, samples: Sequence[Sample], replies: Sequence[Reply]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            for sample, reply in zip(samples, replies, strict=True):
                self.said[sample.key] = reply
                row = {"key": sample.key, "id": sample.id, "answer": sample.answer, **reply._asdict()}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
