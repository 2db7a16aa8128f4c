"""Splits by physical space: no place is both trained on and tested, and scans of benchmarks are kept apart."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hatch_data.errors import ScanError
from hatch_data.recipe import SplitSettings
from hatch_data.scans import ScanRef

#: Folders above a scan in which the files of its data set are looked for.
_LEVELS = 4


@dataclass(frozen=True)
class DataSet:
    """A data set whose validation and test scans are what benchmarks ask about.

    `files` list those scans: patterns below a folder above the scans, one name a line, or a table with the columns
    `video_id` and `fold`. `source` is where to get them.
    """

    name: str
    layouts: tuple[str, ...]
    files: tuple[str, ...]
    source: str


DATA_SETS = (
    DataSet(
        "ScanNet",
        ("scannet", "scannet-sens", "scannet-posed-images", "scannet-frames-25k"),
        ("scannetv2_val.txt", "scannetv2_test.txt"),
        "github.com/ScanNet/ScanNet, Tasks/Benchmark",
    ),
    DataSet(
        "ScanNet++",
        ("scannetpp-dslr", "scannetpp-iphone"),
        ("splits/nvs_sem_val.txt", "splits/*test.txt", "nvs_sem_val.txt"),
        "the splits/ folder of the ScanNet++ download",
    ),
    DataSet(
        "ARKitScenes",
        ("arkitscenes",),
        ("*_train_val_splits.csv", "metadata.csv"),
        "github.com/apple/ARKitScenes, threedod/3dod_train_val_splits.csv",
    ),
)
_BY_LAYOUT = {layout: data_set for data_set in DATA_SETS for layout in data_set.layouts}


def evaluation_spaces(refs: Sequence[ScanRef], settings: SplitSettings) -> tuple[set[str], list[str]]:
    """Spaces with a scan that is kept for test, and a warning for each data set whose lists are not found.

    Lists in the folders above the scans are of the scans in their data set's layouts; those in `settings.files`, of
    scans in any, and one that names none is warned of; the latter alone where `benchmark_scans` is `any`. Raises
    `ScanError` for a file named there that cannot be read.
    """
    named = {file: _read(Path(file)) for file in settings.files}
    listed = set().union(*named.values())
    spaces = {ref.space for ref in refs if ref.scene in listed}
    warnings = [
        f"{file}: names none of the {len(refs)} scans, which are called {refs[0].scene} and so on: nothing is kept for "
        "test for its sake"
        for file, names in named.items()
        if names.isdisjoint(ref.scene for ref in refs)
    ]
    if settings.benchmark_scans == "any":
        return spaces, warnings
    found: dict[Path, set[str]] = {}
    for data_set in DATA_SETS:
        mine = [ref for ref in refs if _BY_LAYOUT.get(ref.layout) is data_set]
        folders = dict.fromkeys(folder for ref in mine for folder in list(Path(ref.path).parents)[:_LEVELS])
        files = {file for folder in folders for pattern in data_set.files for file in folder.glob(pattern)}
        for file in sorted(files - found.keys()):
            found[file] = _read(file)
        names = set().union(*(found[file] for file in files))
        # The download of ARKitScenes has its validation scans in a folder of that name.
        held = [ref for ref in mine if ref.scene in names or "Validation" in Path(ref.path).parts[-_LEVELS:]]
        spaces |= {ref.space for ref in held}
        if mine and not names and not held and not listed:
            warnings.append(
                f"{len(mine)} scans of {data_set.name} and no list of those that benchmarks ask about: they may end up "
                f"in train. Put {data_set.files[0]} ({data_set.source}) into the folder above the scans, or name it "
                "with --set split.files=[...]"
            )
    return spaces, warnings


def _read(file: Path) -> set[str]:
    """Names of scans in a list, or of the validation fold of a table."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScanError(f"{file}: a list of scans that cannot be read ({error}); restore it or leave it away") from None
    if file.suffix != ".csv":
        return {line.strip() for line in text.splitlines() if line.strip()}
    return {str(row.get("video_id")) for row in csv.DictReader(text.splitlines()) if row.get("fold") == "Validation"}


def splits_by_space(spaces: Iterable[str], settings: SplitSettings, held_out: Iterable[str] = ()) -> dict[str, str]:
    """Space -> split; those in `held_out` are for test. A space's split depends on its name alone, but where the names
    leave training or a split that is asked for empty, the space of the fullest split that is nearest to it by hash is
    moved there."""
    apart = dict.fromkeys(held_out, "test")
    spaces = set(spaces)
    free = sorted(spaces - apart.keys())
    rank = {space: int(hashlib.sha256(space.encode()).hexdigest()[:8], 16) / 2**32 for space in free}
    bounds = (("test", settings.test), ("validation", settings.test + settings.validation))
    split = {space: next((name for name, bound in bounds if value < bound), "train") for space, value in rank.items()}
    ordered = sorted(rank, key=lambda space: rank[space])
    for name, share in (("train", 1.0), ("test", settings.test), ("validation", settings.validation)):
        count = Counter(split.values())
        if not split or share == 0 or count[name]:
            continue
        donor = max(count, key=lambda other: (count[other], other == "train", other))
        if count[donor] > 1 or name == "train":
            split[[s for s in ordered if split[s] == donor][-1 if name == "train" else 0]] = name
    return split | {space: name for space, name in apart.items() if space in spaces}


def splits_by_time(frames: int, settings: SplitSettings) -> list[str]:
    """The split of each frame of a scan: training first, then a stretch for validation, then one for test."""
    test = round(frames * settings.test)
    validation = round(frames * settings.validation)
    return ["train"] * (frames - validation - test) + ["validation"] * validation + ["test"] * test
