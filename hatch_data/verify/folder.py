"""The folder against its manifest: files and checksums, counts, ids that occur once, splits that share nothing."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml


def digest_fits(manifest: dict[str, Any]) -> Iterator[str]:
    """The digest that went into the ids is that of the recipe that is told, settings of its time included."""
    text = yaml.safe_dump(manifest["plan"]["recipe"], sort_keys=False)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    if digest != manifest["recipe_digest"]:
        yield f"recipe_digest is {manifest['recipe_digest']}, the recipe beside it gives {digest}"


def files_fit(folder: Path, manifest: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """(file, what is wrong with it) for every shard that is told or there."""
    told = {shard["file"]: shard for scene in manifest["scenes"].values() for shard in scene["shards"]}
    for name in sorted(told.keys() | {path.name for path in folder.glob("*.parquet")}):
        path = folder / name
        if not path.is_file():
            yield name, ["told in build.json, but not there"]
        elif name not in told:
            yield name, ["there, but not told in build.json"]
        else:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            fits = digest == told[name]["sha256"]
            yield name, [] if fits else [f"sha256 is {digest[:12]}..., build.json says {told[name]['sha256'][:12]}..."]


#: Columns that say which row a row is.
NAMES = ("id", "scene", "task", "frames")


class Census:
    """What occurs in a build, over all rows."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._rows: Counter[tuple[str, str]] = Counter()
        self._tasks: Counter[str] = Counter()
        self._splits_of_frame: dict[tuple[str, str], set[str]] = defaultdict(set)

    def add(self, split: str, name: dict[str, Any]) -> Iterator[str]:
        """Count a row by what `NAMES` it; its id must be new."""
        repeated = name["id"] in self._ids
        self._ids.add(name["id"])
        self._rows[name["scene"], split] += 1
        self._tasks[name["task"]] += 1
        for frame in name["frames"]:
            self._splits_of_frame[name["scene"], frame].add(split)
        return iter(["the id stands in an earlier row too"] if repeated else [])

    def counts_fit(self, manifest: dict[str, Any]) -> Iterator[str]:
        """Rows by scene, split and task are as told."""
        rows = {(name, split): n for name, scene in manifest["scenes"].items() for split, n in scene["rows"].items()}
        by_split: Counter[str] = Counter()
        for (_, split), n in self._rows.items():
            by_split[split] += n
        shards: Counter[tuple[str, str]] = Counter()
        for name, scene in manifest["scenes"].items():
            for shard in scene["shards"]:
                shards[name, shard["split"]] += shard["rows"]
        for what, told, found in (
            ("rows by scene and split", rows, self._rows),
            ("rows of shards", shards, self._rows),
            ("rows by split", manifest["totals"]["rows"], by_split),
            ("rows by task", manifest["totals"]["tasks"], self._tasks),
        ):
            for key in sorted(told.keys() | found.keys()):
                if told.get(key, 0) != found.get(key, 0):
                    yield f"{what}: {key}: {told.get(key, 0)} told, {found.get(key, 0)} there"

    def splits_hold(self, manifest: dict[str, Any]) -> Iterator[str]:
        """No frame stands in two splits; split by space, no space does."""
        for (scene, frame), splits in self._splits_of_frame.items():
            if len(splits) > 1:
                yield f"frame {frame} of {scene} stands in {' and '.join(sorted(splits))}"
        if manifest["split"]["by"] == "space":
            by_space: dict[str, set[str]] = defaultdict(set)
            for scene, split in self._rows:
                by_space[manifest["scenes"].get(scene, {}).get("space", scene)].add(split)
            for space, splits in by_space.items():
                if len(splits) > 1:
                    yield f"space {space} stands in {' and '.join(sorted(splits))}"
