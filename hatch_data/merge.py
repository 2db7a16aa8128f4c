"""Several finished builds into one, or a sample of them: rows are copied as they are, nothing is built again.

Every row keeps its id and its split. A shard of which all rows are taken is copied byte for byte, others row group by
row group. Which rows: those with the smallest hash of seed and id, so the choice depends on nothing else.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hatch_data.card import dataset_card, pictures
from hatch_data.errors import ShardError
from hatch_data.folder import STAGING, totals, versions
from hatch_data.shards import (
    MANIFEST,
    ROW_GROUP_BYTES,
    SPLITS,
    commit,
    open_shard,
    parquet_writer,
    read_group,
    read_groups,
    read_manifest,
)
from hatch_data.spread import Spread, spread_of
from hatch_data.storage import LocalStorage, writing

_PLAN = f"{STAGING}/plan.json"


@dataclass
class _Shard:
    """A shard of a source: where it is, what it holds, and which of its rows are taken."""

    path: Path
    scene: str
    split: str
    ids: list[str]
    taken: NDArray[np.bool_]


@dataclass
class _Source:
    """A build that is merged. `fresh` counts the rows whose ids no earlier source has."""

    folder: Path
    manifest: dict[str, Any]
    weight: float
    shards: list[_Shard] = field(default_factory=list)

    @property
    def fresh(self) -> int:
        """Rows marked as taken."""
        return sum(int(shard.taken.sum()) for shard in self.shards)


def parse_weights(texts: Sequence[str], folders: Sequence[Path]) -> dict[Path, float]:
    """`DIR=W` for some of the folders. Raises `ShardError`."""
    weights = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = 0.0
        if not equals or not 0 < weight < float("inf"):
            raise ShardError(f"--weight {text}: write it as DIR=W with W above 0")
        if Path(name) not in folders:
            raise ShardError(f"--weight {text}: '{name}' is not merged; merged are {', '.join(map(str, folders))}")
        weights[Path(name)] = weight
    return weights


def merge(
    folders: Sequence[Path], out: Path, weights: dict[Path, float], rows: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """Merge finished builds into `out`; the manifest. A rerun of the same goes on where it was cut off.

    A row of a folder with weight w is taken w times as likely as one of weight 1, none more than once; without `rows`
    as many are taken as these proportions allow. Raises `ShardError` where builds do not go together: another version,
    a place that trains in one and validates in another, fewer rows than wanted.
    """
    sources = [_Source(folder, read_manifest(folder), weights.get(folder, 1.0)) for folder in folders]
    _go_together(sources)
    plan = _plan(sources, rows, seed)
    store = LocalStorage(out)
    _refuse_other(store, plan, folders)
    if store.exists(MANIFEST):
        return read_manifest(out)
    duplicates = _read_ids(sources)
    _choose(sources, _quotas(sources, rows), seed)
    with writing(out):
        store.write_text(_PLAN, json.dumps(plan, indent=2))
        manifest = _write(sources, store, plan, duplicates)
        for picture in pictures(manifest, out / STAGING):
            store.move(f"{STAGING}/{picture.name}", picture.name)
        store.write_text("README.md", dataset_card(manifest))
        store.write_text(MANIFEST, json.dumps(manifest, indent=2))
        store.remove(STAGING)
    return manifest


def _plan(sources: list[_Source], rows: int | None, seed: int) -> dict[str, Any]:
    parts = [
        {
            "folder": str(source.folder.resolve()),
            "manifest": hashlib.sha256((source.folder / MANIFEST).read_bytes()).hexdigest()[:16],
            "weight": source.weight,
        }
        for source in sources
    ]
    first = sources[0].manifest["plan"]
    scans = {name: scan for source in sources for name, scan in source.manifest["plan"]["scans"].items()}
    return {**first, "limit": None, "scans": scans, "merge": {"sources": parts, "rows": rows, "seed": seed}}


def _refuse_other(store: LocalStorage, plan: dict[str, Any], folders: Sequence[Path]) -> None:
    out = store.root
    if any(out.resolve().is_relative_to(folder.resolve()) for folder in folders):
        raise ShardError(f"{out}: lies in a folder that is merged, which is only read; name another for --out")
    if store.is_file():
        raise ShardError(f"{out}: is a file; name a folder for --out")
    if store.exists(MANIFEST):
        found = read_manifest(out).get("plan")
    elif store.exists(_PLAN):
        found = json.loads(store.read_text(_PLAN))
    elif any(name != STAGING for name in store.names()):
        raise ShardError(f"{out}: is not empty and holds no build; name another folder for --out")
    else:
        return
    if found != plan:
        raise ShardError(f"{out}: holds something else than this merge; name another folder for --out")


def _go_together(sources: list[_Source]) -> None:
    """Raise `ShardError` for builds of different versions, and for places that do not stay in one split."""
    seen: set[Path] = set()
    for source in sources:
        if source.folder.resolve() in seen:
            raise ShardError(f"{source.folder}: is named twice; give it a --weight instead")
        seen.add(source.folder.resolve())
        mine, first = source.manifest["plan"]["version"], sources[0].manifest["plan"]["version"]
        if mine != first:
            raise ShardError(
                f"{source.folder}: was built by version {mine}, {sources[0].folder} by {first}; build one of them again"
            )
    splits: dict[str, dict[str, Path]] = defaultdict(dict)
    by_space: set[str] = set()
    for source in sources:
        for scene in source.manifest["scenes"].values():
            for split in scene["rows"]:
                splits[scene["space"]].setdefault(split, source.folder)
            if source.manifest["split"]["by"] == "space":
                by_space.add(scene["space"])
    for space in sorted(by_space):
        if len(splits[space]) > 1:
            told = " and ".join(f"{split} in {folder}" for split, folder in splits[space].items())
            raise ShardError(f"place '{space}' is {told}: what is tested would be trained on; split both alike")


def _read_ids(sources: list[_Source]) -> dict[str, int]:
    """Fill `shards`; rows whose id came before are not taken, and counted by source. No frame may be in two splits."""
    seen: set[str] = set()
    split_of_frame: dict[tuple[str, str], str] = {}
    duplicates: Counter[str] = Counter()
    for source in sources:
        for scene, report in source.manifest["scenes"].items():
            for told in report["shards"]:
                path = source.folder / told["file"]
                ids, frames = _ids_and_frames(path)
                taken = np.ones(len(ids), bool)
                for k, row_id in enumerate(ids):
                    taken[k] = row_id not in seen
                    seen.add(row_id)
                duplicates[str(source.folder)] += int((~taken).sum())
                for frame in sorted(frames):
                    if (other := split_of_frame.setdefault((scene, frame), told["split"])) != told["split"]:
                        raise ShardError(f"{path}: frame {frame} of {scene} is {told['split']} here, {other} elsewhere")
                source.shards.append(_Shard(path, scene, told["split"], ids, taken))
    return {name: n for name, n in duplicates.items() if n}


def _ids_and_frames(path: Path) -> tuple[list[str], set[str]]:
    ids: list[str] = []
    frames: set[str] = set()
    for table in read_groups(path, ["id", "frames"]):
        ids += table["id"].to_pylist()
        frames.update(pc.list_flatten(table["frames"]).to_pylist())
    return ids, frames


def _quotas(sources: list[_Source], rows: int | None) -> list[int]:
    """Rows to take of each source, in proportion to weight times rows, none beyond what it has."""
    fresh = np.array([source.fresh for source in sources], float)
    wanted = fresh * [source.weight for source in sources]
    if not fresh.any():
        raise ShardError("the builds hold no rows; nothing to merge")
    if rows is None:
        heaviest = max(source.weight for source in sources if source.fresh)
        return [int(n) for n in np.floor(wanted / heaviest + 1e-9)]
    if rows > fresh.sum():
        raise ShardError(f"--rows {rows}: the builds hold {int(fresh.sum())} different rows; ask for as many at most")
    quota = np.zeros(len(sources))
    while (missing := rows - quota.sum()) > 1e-6:
        # What a source cannot give, the others do.
        share = np.where(quota < fresh, wanted, 0)
        quota = np.minimum(fresh, quota + missing * share / share.sum())
    whole = np.floor(quota + 1e-9).astype(int)
    for k in np.argsort(whole - quota, kind="stable")[: rows - int(whole.sum())]:
        whole[k] += 1
    return [int(n) for n in whole]


def _choose(sources: list[_Source], quotas: list[int], seed: int) -> None:
    """Leave as many rows taken as each quota says: those whose hash is smallest."""
    for source, quota in zip(sources, quotas, strict=True):
        if quota == source.fresh:
            continue
        order = sorted(
            (hashlib.sha256(f"{seed}/{shard.ids[k]}".encode()).digest(), number, int(k))
            for number, shard in enumerate(source.shards)
            for k in np.flatnonzero(shard.taken)
        )
        for _, number, k in order[quota:]:
            source.shards[number].taken[k] = False


def _write(
    sources: list[_Source], store: LocalStorage, plan: dict[str, Any], duplicates: dict[str, int]
) -> dict[str, Any]:
    """Write all shards under their final names, those of an earlier attempt kept; the manifest."""
    scenes: dict[str, dict[str, Any]] = {}
    for split in SPLITS:
        chosen = [(source, s) for source in sources for s in source.shards if s.split == split and s.taken.any()]
        for number, (source, shard) in enumerate(chosen):
            path = store.root / f"{split}-{number:05d}-of-{len(chosen):05d}.parquet"
            # A shard that is copied as it is has passed no other check.
            spread = spread_of(shard.path) if shard.taken.all() else None
            if not path.exists():
                _copy(shard, path)
            scene = scenes.setdefault(
                shard.scene,
                {**source.manifest["scenes"][shard.scene], "rows": {}, "tasks": {}, "shards": [], "failure": None},
            )
            _add(scene, split, path, int(shard.taken.sum()), spread or spread_of(path))
    recipes = {source.manifest["recipe_digest"]: source.manifest["plan"]["recipe"] for source in sources}
    by = {source.manifest["split"]["by"] for source in sources}
    return {
        "plan": plan,
        "recipe_digest": sources[0].manifest["recipe_digest"],
        "recipes": recipes,
        "versions": versions(),
        "split": {**sources[0].manifest["split"], "by": by.pop() if len(by) == 1 else "time"},
        "merged": {
            "sources": [
                {
                    "folder": str(source.folder),
                    "weight": source.weight,
                    "rows": source.fresh,
                    "of": sum(source.manifest["totals"]["rows"].values()),
                    "recipe_digest": source.manifest["recipe_digest"],
                    "versions": source.manifest["versions"],
                    "code": source.manifest["plan"].get("code"),
                }
                for source in sources
            ],
            "duplicates": duplicates,
        },
        "totals": totals(list(scenes.values())),
        "scenes": dict(sorted(scenes.items())),
    }


def _add(scene: dict[str, Any], split: str, path: Path, rows: int, spread: Spread) -> None:
    """Enter a written shard into the report of its scene."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    told = {"split": split, "file": path.name, "rows": rows, "bytes": path.stat().st_size, "sha256": digest}
    scene["shards"].append({**told, "spread": spread})
    scene["rows"][split] = scene["rows"].get(split, 0) + rows
    scene["tasks"] = dict(sorted((Counter(scene["tasks"]) + Counter(spread["tasks"])).items()))


def _copy(shard: _Shard, path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial")
    if shard.taken.all():
        shutil.copyfile(shard.path, partial)
    else:
        with parquet_writer(partial) as parquet:
            for table in _taken(shard):
                parquet.write_table(table.cast(parquet.schema))
    commit(partial, path)


def _taken(shard: _Shard) -> Iterator[pa.Table]:
    """The rows that are taken, row group by row group, small ones joined."""
    file, first = open_shard(shard.path), 0
    waiting: list[pa.Table] = []
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        mask = shard.taken[first : first + count]
        first += count
        if mask.any():
            waiting.append(read_group(shard.path, group).filter(pa.array(mask)))
        if waiting and (group == file.num_row_groups - 1 or sum(table.nbytes for table in waiting) >= ROW_GROUP_BYTES):
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []


def summary(manifest: dict[str, Any], out: Path) -> str:
    """What came of a merge, in lines."""
    lines = [
        f"{source['rows']} of {source['of']} rows of {source['folder']}, weight {source['weight']:g}"
        for source in manifest["merged"]["sources"]
    ]
    repeated = sum(manifest["merged"]["duplicates"].values())
    if repeated:
        lines.append(f"{repeated} rows left out: an earlier folder has the same row")
    for title in ("rows", "tasks"):
        counts = ", ".join(f"{name} {n}" for name, n in manifest["totals"][title].items())
        lines.append(f"{'rows by split' if title == 'rows' else 'rows by task'}: {counts}")
    lines.append(f"{sum(manifest['totals']['rows'].values())} rows in {out}")
    return "\n".join(lines)
