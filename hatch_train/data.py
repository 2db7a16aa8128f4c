"""Shards -> plan -> batches.

The plan says which items make up each pack of an epoch: a pure function of the shards, the seed, the epoch and the
caps, made from small columns only. So the position in the data is three things, (epoch, next pack, fingerprint of the
plan), resuming is instant, and the order does not depend on how many workers read.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from hatch_data.errors import HatchError, ShardError
from hatch_data.shards import MANIFEST, open_shard, shard_files
from hatch_train.packing import Caps, first_fit

#: A row group larger than this would not fit beside others in a worker's memory.
MAX_ROW_GROUP_BYTES = 128 << 20
#: Row groups whose rows are shuffled together, and which a worker keeps.
WINDOW_GROUPS = 4


class Shards:
    """The rows of one split of several folders: where each lies, and its small columns."""

    def __init__(self, folders: Sequence[str], split: str, small: Sequence[str]):
        if not folders:
            raise ShardError("no shards: name folders that hatch-data built, as in --set data.shards=[out/demo]")
        self.files = [file for folder in folders for file in _files(Path(folder), split)]
        self.rows: list[dict[str, Any]] = []
        places: list[tuple[int, int, int]] = []
        for number, path in enumerate(self.files):
            file = open_shard(path)
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).total_byte_size
                if size > MAX_ROW_GROUP_BYTES:
                    raise ShardError(f"{path}: row group {group} holds {size >> 20} MiB, too much; rebuild this folder")
                rows = _read_group(path, group, ("id", *small)).to_pylist()
                self.rows += rows
                places += [(number, group, row) for row in range(len(rows))]
        self.places = np.array(places, np.int64).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, row: int, columns: tuple[str, ...]) -> dict[str, Any]:
        """One row, from a row group that is kept for the next."""
        number, group, within = self.places[row].tolist()
        return _kept_group(self.files[number], group, columns).slice(within, 1).to_pylist()[0]


def _files(folder: Path, split: str) -> list[Path]:
    shard_files(folder)  # a folder without any shards is an error, one without this split may be none
    return sorted(folder.glob(f"{split}-[0-9]*-of-[0-9]*.parquet"))


def _read_group(path: Path, group: int, columns: tuple[str, ...]) -> pa.Table:
    try:
        # Without pyarrow's own threads: workers are forked, and there are as many of them as cores.
        return open_shard(path).read_row_group(group, columns=list(columns), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ShardError(f"{path}: row group {group} is damaged ({error}); rebuild this folder") from None


_kept_group = lru_cache(maxsize=WINDOW_GROUPS + 1)(_read_group)


def manifests(folders: Sequence[str]) -> list[dict[str, Any]]:
    """What `build.json` of each folder says; empty where there is none."""
    found = []
    for folder in folders:
        path = Path(folder) / MANIFEST
        try:
            found.append(json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {})
        except ValueError as error:
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
    `dropped` names rows with an item that no pack can hold.
    """

    def __init__(self, shards: Shards, items: Sequence[Item], caps: Caps, seed: int, shuffle: bool = True):
        fits = [i.tokens <= caps.tokens and i.patches <= caps.patches for i in items]
        self.items = [item for item, ok in zip(items, fits, strict=True) if ok]
        self.dropped = [shards.rows[item.row]["id"] for item, ok in zip(items, fits, strict=True) if not ok]
        self.shards, self.caps, self.seed, self.shuffle = shards, caps, seed, shuffle
        self.tokens = np.array([item.tokens for item in self.items], np.int64)
        self.patches = np.array([item.patches for item in self.items], np.int64)
        places = shards.places[[item.row for item in self.items]] if self.items else np.empty((0, 3), np.int64)
        self._group = np.unique(places[:, :2], axis=0, return_inverse=True)[1].reshape(-1)
        told = [[shards.rows[i.row]["id"], i.match, i.tokens, i.patches] for i in self.items]
        text = json.dumps([told, caps.model_dump(), seed, shuffle])
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]

    def epoch(self, epoch: int) -> list[tuple[int, ...]]:
        """The packs of an epoch, in order, as indices into `items`."""
        if not self.shuffle:
            return [tuple(p) for p in _in_order(self.tokens, self.patches, self.caps)]
        rng = np.random.default_rng([self.seed, epoch])
        groups = rng.permutation(int(self._group.max(initial=-1)) + 1)
        packs: list[tuple[int, ...]] = []
        waiting = np.empty(0, np.int64)
        for start in range(0, len(groups), WINDOW_GROUPS):
            window = np.flatnonzero(np.isin(self._group, groups[start : start + WINDOW_GROUPS]))
            pool = rng.permutation(np.concatenate([waiting, window]))
            filled = [pool[chosen] for chosen in first_fit(self.tokens[pool], self.patches[pool], self.caps)]
            last = start + WINDOW_GROUPS >= len(groups)
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


class _Tickets(Sampler):
    def __init__(self, plan: Plan, epoch: int, number: int, count: int):
        self.arguments = (plan, epoch, number, count)

    def __iter__(self) -> Iterator[Ticket]:
        plan, *place = self.arguments
        return plan.tickets(*place)

    def __len__(self) -> int:
        return self.arguments[3]


def batches(make: MakeBatch[B], plan: Plan, epoch: int, number: int, count: int, workers: int) -> Iterator[Loaded[B]]:
    """The next `count` batches from a place in the data on, read ahead by worker processes.

    Raises what went wrong in a worker as the one-line error that it was.
    """
    loader: DataLoader = DataLoader(
        _Packs(make, plan),
        sampler=_Tickets(plan, epoch, number, count),
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
