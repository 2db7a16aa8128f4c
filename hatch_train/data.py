"""Shards -> plan -> batches.

The plan says which items make up each pack of an epoch: a pure function of the shards, the seed, the epoch and the
caps, made from small columns only. So the position in the data is three things, (epoch, next pack, fingerprint of the
plan), resuming is instant, and the order does not depend on how many workers read.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from hatch_data.errors import HatchError, ShardError
from hatch_data.shards import MANIFEST, open_shard, read_group, read_groups, shard_files
from hatch_train.packing import Caps, first_fit

#: A row group larger than this would not fit beside others in a worker's memory.
MAX_ROW_GROUP_BYTES = 128 << 20
#: Row groups whose rows are shuffled together, and which a worker keeps.
WINDOW_GROUPS = 4


class Shards:
    """The rows of one split of several folders: where each lies, its small columns, and how often an epoch has it.

    `folders` may give each folder its weight; without, each row comes once an epoch.
    """

    def __init__(self, folders: Iterable[str] | Mapping[str, float], split: str, small: Sequence[str]):
        weights = dict(folders) if isinstance(folders, Mapping) else dict.fromkeys(folders, 1.0)
        if not weights:
            raise ShardError("no shards: name folders that hatch-data built, as in --set data.shards=[out/demo]")
        files = [(file, weight) for folder, weight in weights.items() for file in _files(Path(folder), split)]
        self.split, self.files = split, [file for file, _ in files]
        self.rows: list[dict[str, Any]] = []
        places: list[tuple[int, int, int]] = []
        for number, path in enumerate(self.files):
            _refuse_large_groups(path)
            for group, table in enumerate(read_groups(path, ["id", *small], use_threads=False)):
                rows = table.to_pylist()
                self.rows += rows
                places += [(number, group, row) for row in range(len(rows))]
        self.places = np.array(places, np.int64).reshape(-1, 3)
        self.weights = np.array([weight for _, weight in files])[self.places[:, 0]]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, row: int, columns: tuple[str, ...]) -> dict[str, Any]:
        """One row, from a row group that is kept for the next."""
        number, group, within = self.places[row].tolist()
        return _kept_group(self.files[number], group, columns).slice(within, 1).to_pylist()[0]


def _refuse_large_groups(path: Path) -> None:
    metadata = open_shard(path).metadata
    for group in range(metadata.num_row_groups):
        if (size := metadata.row_group(group).total_byte_size) > MAX_ROW_GROUP_BYTES:
            raise ShardError(f"{path}: row group {group} holds {size >> 20} MiB, too much; rebuild this folder")


def _files(folder: Path, split: str) -> list[Path]:
    shard_files(folder)  # a folder without any shards is an error, one without this split may be none
    return sorted(folder.glob(f"{split}-[0-9]*-of-[0-9]*.parquet"))


def _read_group(path: Path, group: int, columns: tuple[str, ...]) -> pa.Table:
    # Without pyarrow's own threads: workers are forked, and there are as many of them as cores.
    return read_group(path, group, list(columns), use_threads=False)


_kept_group = lru_cache(maxsize=WINDOW_GROUPS + 1)(_read_group)


def manifests(folders: Iterable[str]) -> list[dict[str, Any]]:
    """What `build.json` of each folder says; empty where there is none."""
    found = []
    for folder in folders:
        path = Path(folder) / MANIFEST
        try:
            found.append(json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {})
        except (OSError, ValueError, RecursionError) as error:
            raise ShardError(f"{path}: not valid JSON ({error}); rebuild this folder") from None
    return found


@dataclass(frozen=True)
class Item:
    """What a stage takes from a row: its size, and for alignment which match."""

    row: int
    tokens: int
    patches: int
    match: int = 0


@dataclass(frozen=True)
class Ticket:
    """One pack to be read: its place in the data and its items."""

    epoch: int
    number: int
    items: tuple[int, ...]


class Plan:
    """Which items make up each pack of each epoch.

    Rows are shuffled within windows of a few row groups, in shuffled order, so that a worker reads each group once.
    A row of weight 2 comes twice an epoch, far apart; of weight 0.5 in every other epoch, by chance. `dropped` names
    rows with an item that no pack can hold.
    """

    def __init__(
        self,
        shards: Shards,
        items: Sequence[Item],
        caps: Caps,
        seed: int,
        shuffle: bool = True,
        single_image_share: float | None = None,
    ):
        fits = [i.tokens <= caps.tokens and i.patches <= caps.patches for i in items]
        self.items = [item for item, ok in zip(items, fits, strict=True) if ok]
        self.dropped = [shards.rows[item.row]["id"] for item, ok in zip(items, fits, strict=True) if not ok]
        self.shards, self.caps, self.seed, self.shuffle = shards, caps, seed, shuffle
        self.tokens = np.array([item.tokens for item in self.items], np.int64)
        self.patches = np.array([item.patches for item in self.items], np.int64)
        rows = np.array([item.row for item in self.items], np.int64)
        self.weights = shards.weights[rows]
        if single_image_share is not None:
            single = np.array([len(shards.rows[row]["image_sizes"]) == 1 for row in rows], bool)
            if single_image_share and all(len(row["image_sizes"]) > 1 for row in shards.rows):
                raise ShardError(
                    f"data.single_image_share is {single_image_share}, but no row in these shards has a single image; "
                    "add a folder that has some, or leave the setting out"
                )
            self.weights = self.weights * _balance(self.weights, single, single_image_share)
        self._group = np.unique(shards.places[rows, :2], axis=0, return_inverse=True)[1].reshape(-1)
        self._packs: dict[int, list[tuple[int, ...]]] = {}
        told = [[shards.rows[i.row]["id"], i.match, i.tokens, i.patches] for i in self.items]
        text = json.dumps([told, self.weights.tolist(), caps.model_dump(), seed, shuffle])
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]

    def epoch(self, epoch: int) -> list[tuple[int, ...]]:
        """The packs of an epoch, in order, as indices into `items`."""
        if epoch not in self._packs:
            self._packs = {**dict(list(self._packs.items())[-1:]), epoch: self._deal(epoch)}
        return self._packs[epoch]

    def _deal(self, epoch: int) -> list[tuple[int, ...]]:
        if not self.shuffle:
            return [tuple(p) for p in _in_order(self.tokens, self.patches, self.caps)]
        rng = np.random.default_rng([self.seed, epoch])
        copies = np.floor(self.weights + rng.random(len(self.weights))).astype(np.int64)
        # A group's second copy is a group of its own, shuffled apart from the first.
        groups = [
            np.flatnonzero(copies[members] > copy).astype(np.int64) + members[0]
            for members in _runs(self._group)
            for copy in range(int(copies[members].max()))
        ]
        order = rng.permutation(len(groups))
        packs: list[tuple[int, ...]] = []
        waiting = np.empty(0, np.int64)
        for start in range(0, len(order), WINDOW_GROUPS):
            window = [groups[group] for group in order[start : start + WINDOW_GROUPS]]
            pool = rng.permutation(np.concatenate([waiting, *window]))
            filled = [pool[chosen] for chosen in first_fit(self.tokens[pool], self.patches[pool], self.caps)]
            last = start + WINDOW_GROUPS >= len(order)
            # The pack that closes a window is seldom full: its samples wait for the next window.
            waiting = np.empty(0, np.int64) if last else filled.pop()
            packs += [tuple(filled[i].tolist()) for i in rng.permutation(len(filled))]
        return packs

    def fill(self, packs: Sequence[tuple[int, ...]]) -> float:
        """Mean share of its tightest cap that a pack uses."""
        shares = []
        for pack in map(list, packs):
            used = (self.tokens[pack].sum(), self.patches[pack].sum(), len(pack))
            shares.append(max(u / cap for u, cap in zip(used, self.caps.model_dump().values(), strict=True)))
        return float(np.mean(shares)) if shares else 0.0

    def tickets(self, epoch: int, number: int, count: int) -> Iterator[Ticket]:
        """The next `count` packs from a place on, through as many epochs as it takes."""
        while count > 0:
            packs = self.epoch(epoch)
            for here in range(number, min(len(packs), number + count)):
                yield Ticket(epoch, here, packs[here])
            count -= max(0, len(packs) - number)
            epoch, number = epoch + 1, 0


def _in_order(tokens: NDArray[np.int64], patches: NDArray[np.int64], caps: Caps) -> Iterator[list[int]]:
    pack: list[int] = []
    for index in range(len(tokens)):
        grown = [*pack, index]
        if len(grown) > caps.samples or tokens[grown].sum() > caps.tokens or patches[grown].sum() > caps.patches:
            yield pack
            grown = [index]
        pack = grown
    if pack:
        yield pack


def _runs(groups: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Indices of each stretch of equal values; items come in the order of their rows, so a group is one stretch."""
    return np.split(np.arange(len(groups)), np.flatnonzero(np.diff(groups)) + 1) if len(groups) else []


def _balance(weights: NDArray[np.float64], single: NDArray[np.bool_], share: float) -> NDArray[np.float64]:
    """Factors of the weights that make `single` items this share of an epoch; 1 where there is none of either kind."""
    ones, others = weights[single].sum(), weights[~single].sum()
    if not ones or not others:
        return np.ones(len(weights))
    return np.where(single, share / (1 - share) * others / ones, 1.0)


def held_out(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` items, evenly spread."""
    if len(items) <= count:
        return list(items)
    return [items[math.floor((i + 0.5) * len(items) / count)] for i in range(count)]


B = TypeVar("B")
#: Reads and preprocesses the items of a pack, in a worker: (shards, items, epoch) -> batch.
MakeBatch = Callable[[Shards, list[Item], int], B]


@dataclass(frozen=True)
class Loaded(Generic[B]):
    """A batch and where in the data it is from."""

    ticket: Ticket
    batch: B


class _Packs(Dataset):
    def __init__(self, make: MakeBatch, plan: Plan):
        self.make, self.plan = make, plan

    def __getitem__(self, ticket: Ticket) -> Loaded | HatchError:
        try:
            items = [self.plan.items[i] for i in ticket.items]
            return Loaded(ticket, self.make(self.plan.shards, items, ticket.epoch))
        except HatchError as error:
            return error  # returned, since the loader would wrap it in a traceback


def batches(
    make: MakeBatch[B],
    plan: Plan,
    epoch: int,
    number: int,
    count: int,
    workers: int,
    rank: int = 0,
    world: int = 1,
) -> Iterator[Loaded[B]]:
    """The next `count` batches from a place in the data on, read ahead by worker processes.

    Of `world` processes each reads its own, dealt in turn. Raises what went wrong in a worker as the one-line error
    that it was.
    """
    loader: DataLoader = DataLoader(
        _Packs(make, plan),
        sampler=islice(plan.tickets(epoch, number, count), rank, None, world),
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_start_worker,
        prefetch_factor=2 if workers else None,
    )
    for loaded in loader:
        if isinstance(loaded, HatchError):
            raise loaded
        yield loaded


def _as_it_is(batch: Any) -> Any:
    return batch


def _start_worker(_number: int) -> None:
    torch.set_num_threads(1)
