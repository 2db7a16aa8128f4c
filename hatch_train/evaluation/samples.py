"""What a benchmark is, and how its published files are read: Parquet, JSON lines, image folders, zip archives.

Text is read at once, images when they are asked for: a benchmark does not have to fit into memory.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from hatch_train.errors import EvaluationError

T = TypeVar("T")
#: Right or wrong; mean relative accuracy, a number in [0, 1].
Measure = Literal["accuracy", "MRA"]


@dataclass(frozen=True)
class Sample:
    """One question. `prompt` follows the images, unless it has `<image>` marks; `images` reads their encoded bytes.

    `letters` are those of the options, empty where the answer is no option; `choices` the options' texts where the
    file has them; `group` is what dependent samples share, such as the scene.
    """

    id: str
    category: str
    prompt: str
    answer: str
    images: Callable[[], list[bytes]]
    measure: Measure = "accuracy"
    letters: str = ""
    choices: tuple[str, ...] = ()
    group: str = ""

    @property
    def key(self) -> str:
        """Names the sample and what is asked."""
        return hashlib.sha256(f"{self.id}\0{self.prompt}".encode()).hexdigest()[:16]


#: Mean score of each category -> named averages, as the benchmark's authors take them.
Averages = Callable[[Mapping[str, float], Mapping[str, int]], dict[str, float]]


@dataclass(frozen=True)
class Benchmark:
    """`native` is the published scorer, its faults included, `repaired` one without; both take a sample and what is
    left of a reply from its last `<answer>` on. `averages` are the published ones."""

    title: str
    read: Callable[[Path, str], list[Sample]]
    native: Callable[[Sample, str], float]
    repaired: Callable[[Sample, str], float]
    averages: Averages


def micro(means: Mapping[str, float], counts: Mapping[str, int]) -> dict[str, float]:
    """The mean over samples."""
    return {"average": sum(means[name] * counts[name] for name in means) / sum(counts.values())}


def macro(means: Mapping[str, float], _counts: Mapping[str, int]) -> dict[str, float]:
    """The mean over categories."""
    return {"average": mean(means.values())}


def mean(values: Iterable[float]) -> float:
    """The mean; of nothing NaN."""
    values = list(values)
    return sum(values) / len(values) if values else math.nan


def with_unique_ids(samples: Sequence[Sample]) -> list[Sample]:
    """The samples, a number behind an id that stands there again."""
    seen: Counter[str] = Counter()
    unique = []
    for sample in samples:
        seen[sample.id] += 1
        again = seen[sample.id]
        unique.append(sample if again == 1 else replace(sample, id=f"{sample.id}#{again}"))
    return unique


def spread(samples: Sequence[T], limit: int | None) -> list[T]:
    """At most `limit` of them, evenly spread, since files are often sorted by category."""
    if limit is None or limit >= len(samples):
        return list(samples)
    return [samples[math.floor((i + 0.5) * len(samples) / limit)] for i in range(limit)]


def files(data: Path, pattern: str, title: str) -> list[Path]:
    """The file `data`, or those below it that match. Raises `EvaluationError` where there are none."""
    if data.is_file():
        return [data]
    if not data.is_dir():
        raise EvaluationError(f"{data}: no such file or folder; give --data the downloaded files of {title}")
    found = sorted(data.rglob(pattern))
    if not found:
        if archive := min(data.rglob("*.zip"), default=None):
            raise EvaluationError(f"{data}: no {pattern} here, but {archive.name}; unpack it")
        raise EvaluationError(f"{data}: no {pattern} here; give --data the downloaded files of {title}")
    return found


class ParquetRows:
    """Rows of Parquet files: `columns` at once, `images` later: columns of image structs, bytes, or lists of them."""

    def __init__(self, paths: Sequence[Path], columns: Sequence[str], images: Sequence[str]):
        self.paths, self.columns, self.image_columns = paths, list(columns), tuple(images)

    def __iter__(self) -> Iterator[tuple[dict[str, Any], Callable[[], list[bytes]]]]:
        for path in self.paths:
            file = _open(path, [*self.columns, *self.image_columns])
            for group in range(file.num_row_groups):
                rows = _group(path, group, tuple(self.columns)).to_pylist()
                for number, row in enumerate(rows):
                    yield row, partial(self._read_images, path, group, number)

    def _read_images(self, path: Path, group: int, number: int) -> list[bytes]:
        row = _kept_group(path, group, self.image_columns).slice(number, 1).to_pylist()[0]
        found = [data for column in self.image_columns for data in _image_bytes(row[column])]
        if not found:
            raise EvaluationError(f"{path}: row {number} of row group {group} has no images; download the file again")
        return found


def _image_bytes(value: Any) -> Iterator[bytes]:
    if isinstance(value, list):
        for element in value:
            yield from _image_bytes(element)
    elif isinstance(value, dict):
        yield from _image_bytes(value.get("bytes"))
    elif value:
        yield value


def _open(path: Path, columns: Sequence[str]) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise EvaluationError(f"{path}: not a readable Parquet file ({error}); download it again") from None
    names = file.schema_arrow.names
    if missing := [name for name in columns if name not in names]:
        raise EvaluationError(f"{path}: no column '{missing[0]}' among {', '.join(names)}; give the published file")
    return file


def _group(path: Path, group: int, columns: tuple[str, ...]) -> pa.Table:
    try:
        return pq.ParquetFile(path).read_row_group(group, columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise EvaluationError(f"{path}: row group {group} is damaged ({error}); download the file again") from None


_kept_group = lru_cache(maxsize=1)(_group)


def json_rows(path: Path, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The objects of a JSON list or of JSON lines. Raises `EvaluationError` where one lacks one of `keys`."""
    try:
        text = path.read_text(encoding="utf-8")
        rows = json.loads(text) if text.lstrip()[:1] == "[" else [json.loads(s) for s in text.split("\n") if s.strip()]
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path}: not readable as JSON ({error}); download it again") from None
    for number, row in enumerate(rows, 1):
        if missing := [key for key in keys if not isinstance(row, dict) or key not in row]:
            raise EvaluationError(f"{path}: row {number} has no '{missing[0]}'; give the published file")
    return rows


class ImageStore:
    """Images named by relative paths, in folders around the file that names them or in zip archives beside it."""

    def __init__(self, source: Path, data: Path):
        self.source = source
        self.roots = list(dict.fromkeys([*source.parents[:3], data if data.is_dir() else data.parent]))

    @cached_property
    def _archives(self) -> dict[str, Path]:
        """Name in an archive -> the archive."""
        found: dict[str, Path] = {}
        for archive in sorted({path for root in self.roots[:2] for path in root.glob("*.zip")}):
            try:
                with zipfile.ZipFile(archive) as opened:
                    found |= dict.fromkeys(opened.namelist(), archive)
            except (OSError, zipfile.BadZipFile) as error:
                raise EvaluationError(f"{archive}: not a readable zip archive ({error}); download it again") from None
        return found

    def reader(self, names: Sequence[str]) -> Callable[[], list[bytes]]:
        """What reads these images. Raises `EvaluationError` at once where one is missing or none is named."""
        if not names:
            raise EvaluationError(f"{self.source}: a sample names no images; download the file again")
        places = [self._find(name) for name in names]
        return lambda: [_bytes_at(*place) for place in places]

    def _find(self, name: str) -> tuple[Path, str]:
        parts = Path(name).parts
        # Some files name the folder in which the images are published first, or the data set itself.
        for rest in ("/".join(parts), "/".join(parts[1:])):
            for root in self.roots:
                if rest and (root / rest).is_file():
                    return root / rest, ""
            if archive := self._archives.get(rest):
                return archive, rest
        raise EvaluationError(f"{self.source}: its image {name} is missing; unpack the images beside this file")


def _bytes_at(path: Path, member: str) -> bytes:
    try:
        if not member:
            return path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)
    except (OSError, zipfile.BadZipFile) as error:
        raise EvaluationError(f"{path}: image {member or path.name} cannot be read ({error})") from None
