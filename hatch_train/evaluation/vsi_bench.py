"""VSI-Bench (arXiv:2412.14171): Parquet, and the scenes as videos or as folders of frames; 32 frames a question.

Since November 2025 its 5,131 questions are published in two files: those kept when what text alone gives away was taken
out (`debiased`), and those taken out (`pruned`). Both together are the benchmark, the first alone is `vsi_debiased`.

Native is the scorer of its authors: the first word of the reply, so that "The answer is B" is wrong and "3.5m" is no
number.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from hatch_train.errors import EvaluationError
from hatch_train.evaluation.answers import letter, mean_relative_accuracy, number, right_letter
from hatch_train.evaluation.samples import Benchmark, ParquetRows, Sample, files, mean, with_unique_ids

FRAMES = 32
NUMBERS = ("object_abs_distance", "object_counting", "object_size_estimation", "room_size_estimation")
DIRECTION = "object_rel_direction"
_PROMPTS = {
    True: "Please answer the question using a single word or phrase.",
    False: "Answer with the option's letter from the given choices directly.",
}


def read(data: Path, variant: str) -> list[Sample]:
    """Samples of the published Parquet, frames as images. Raises `EvaluationError` naming file and remedy."""
    paths = _published(data, variant)
    samples = []
    for row, _ in ParquetRows(
        paths, ("id", "dataset", "scene_name", "question_type", "question", "options", "ground_truth"), ()
    ):
        numeric = row["question_type"] in NUMBERS
        options = row["options"] or []
        lines = ["These are frames of a video.", row["question"]]
        lines += [] if numeric else ["Options:\n" + "\n".join(options)]
        samples.append(
            Sample(
                id=str(row["id"]),
                category=row["question_type"],
                prompt="\n".join([*lines, _PROMPTS[numeric]]),
                answer=row["ground_truth"],
                images=_frames(paths[0], f"{row['dataset']}/{row['scene_name']}"),
                measure="MRA" if numeric else "accuracy",
                letters="ABCDEFGH"[: len(options)],
                choices=tuple(option.partition(". ")[2] for option in options),
                group=f"{row['dataset']}/{row['scene_name']}",
            )
        )
    return with_unique_ids(samples)


def _published(data: Path, variant: str) -> list[Path]:
    """The files of all questions, however they are parted, or that of the debiased ones."""
    found = files(data, "*.parquet", "VSI-Bench")
    parts = {name: [path for path in found if name in path.name] for name in ("debiased", "pruned")}
    if variant == "debiased":
        if not parts["debiased"]:
            raise EvaluationError(f"{data}: no test_debiased.parquet here; download it from VSI-Bench's page")
        return parts["debiased"]
    if whole := [path for path in found if not any(path in part for part in parts.values())]:
        return whole
    if missing := [name for name, part in parts.items() if not part]:
        raise EvaluationError(
            f"{data}: some of VSI-Bench only, without test_{missing[0]}.parquet; give --data the folder with both, or "
            "ask for vsi_debiased"
        )
    return found


def _frames(parquet: Path, scene: str) -> Callable[[], list[bytes]]:
    folder, video = parquet.parent / scene, parquet.parent / f"{scene}.mp4"
    if folder.is_dir():
        if found := sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png")):
            return lambda: [found[i].read_bytes() for i in _even(len(found))]
        raise EvaluationError(
            f"{folder}: no images here; put the frames of the scene into it, or {video.name} beside it"
        )
    if video.is_file():
        return partial(_video_frames, video)
    raise EvaluationError(f"{parquet}: its scene {scene} is missing; unpack {video.name} or frames beside this file")


def _even(count: int) -> list[int]:
    return np.linspace(0, count - 1, min(FRAMES, count), dtype=int).tolist()


@lru_cache(maxsize=2)  # questions about a scene follow one another
def _video_frames(video: Path) -> list[bytes]:
    try:
        import av
    except ModuleNotFoundError:
        raise EvaluationError(f"{video}: reading videos needs av; run pip install 'hatch-spatial[scans]'") from None
    try:
        with av.open(str(video)) as opened:
            count = sum(1 for _ in opened.decode(video=0))
        wanted, frames = set(_even(count)), []
        with av.open(str(video)) as opened:
            for index, frame in enumerate(opened.decode(video=0)):
                if index in wanted:
                    file = io.BytesIO()
                    frame.to_image().save(file, "png", compress_level=1)
                    frames.append(file.getvalue())
    except (av.FFmpegError, OSError) as error:
        raise EvaluationError(f"{video}: not a readable video ({error}); unpack it again") from None
    return frames


def native(sample: Sample, reply: str) -> float:
    word = reply.split(" ")[0].rstrip(".").strip()
    if sample.measure == "accuracy":
        return float(word.lower() == sample.answer.lower())
    try:
        return mean_relative_accuracy(float(word), float(sample.answer))
    except ValueError:
        return 0.0


def repaired(sample: Sample, reply: str) -> float:
    if sample.measure == "accuracy":
        return right_letter(letter(reply, sample.letters, sample.choices), sample.answer)
    said = number(reply)
    return 0.0 if said is None else mean_relative_accuracy(said, float(sample.answer))


def averages(means: Mapping[str, float], _counts: Mapping[str, int]) -> dict[str, float]:
    """Over the tasks, the three difficulties of relative direction being one."""
    tasks = {name: value for name, value in means.items() if not name.startswith(DIRECTION)}
    direction = mean(value for name, value in means.items() if name.startswith(DIRECTION))
    return {"average": mean([*tasks.values(), *([direction] if direction == direction else [])])}


BENCHMARK = Benchmark("VSI-Bench", read, native, repaired, averages)
