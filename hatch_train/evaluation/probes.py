"""Probes that need no benchmark, on held-out shards: does the vision encoder match patches, are the actions right.

Each breaks its figures down by how hard the pair is, beside what needs no model at all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hatch_data.actions import Actions, execute, parse_json, parse_pairs
from hatch_data.errors import ActionError, ShardError
from hatch_data.geometry import rotation_from_heading_pitch_roll
from hatch_data.motion import Motion, motion_between, stance
from hatch_data.patches import FlowField, rebin
from hatch_data.shards import shard_files
from hatch_train.data import Shards
from hatch_train.errors import EvaluationError
from hatch_train.evaluation.held_out import open_shards
from hatch_train.evaluation.report import shown_table
from hatch_train.evaluation.samples import mean, spread
from hatch_train.images import ImageReader
from hatch_train.metrics import MatchFigures
from hatch_train.model import VisionLanguageModel
from hatch_train.stages.alignment import LEVELS, levels, unit

#: Pairs of images that the matching probe looks at.
PAIRS = 400
OVERLAP = (0.2, 0.4, 0.6, 0.8)
ROTATION_DEG = (15, 30, 60, 90)
DISTANCE_M = (0.5, 1, 2)
EDGES: dict[str, Sequence[float]] = {"overlap": OVERLAP, "viewpoint change, deg": ROTATION_DEG}
ALL = "all pairs"
BASELINES = ("same position", "mean colour")
#: The grid of regions: the paper's.
REGIONS = (4, 4)
_MATCH = "matches.list.element."

#: Name of a bin -> its figures.
Table = dict[str, dict[str, Any]]


def label(value: float, edges: Sequence[float]) -> str:
    """The bin of a value, such as `15 - 30`; the last is open."""
    at = bisect_right(edges, value)
    return f"{edges[-1]:g} or more" if at == len(edges) else f"{(0, *edges)[at]:g} - {edges[at]:g}"


def _in_order(tables: Mapping[str, Any], edges: Sequence[float]) -> list[str]:
    return [name for name in (label(edge, edges) for edge in (0, *edges)) if name in tables]


def rotation_deg(world_from_i: NDArray, world_from_j: NDArray) -> float:
    """The angle of the rotation between two poses."""
    return _angle_deg(world_from_i[:3, :3].T @ world_from_j[:3, :3])


def _angle_deg(rotation: NDArray) -> float:
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))


# Matching


@torch.no_grad()
def matching(model: VisionLanguageModel, data: Path, split: str, limit: int = PAIRS) -> dict[str, Table]:
    """Recall@1 of matching by the tower's features: of tokens to within one, with PCK@0.1, and of 4 x 4 regions; by
    overlap and by viewpoint change. Images as they are stored.

    `same position` and `mean colour` need no model. Without a `split` it is `test`, else `validation`, else `train`,
    which of a scan that was never trained on is held out as well.
    """
    shards = Shards([str(data)], split or _held_out(data), ("scene", "frames", _MATCH + "source", _MATCH + "target"))
    if not (drawn := spread(_pairs(shards), limit)):
        raise EvaluationError(f"{data}: no pairs of views in split {shards.split}; give shards of two views or more")
    images = ImageReader(model.processor, None, cache_mb=256)
    tables: dict[tuple[str, str], dict[str, MatchFigures]] = {
        (level, measure): defaultdict(partial(MatchFigures, level)) for level in LEVELS for measure in EDGES
    }
    pairs: Counter[tuple[str, str]] = Counter()
    for number, source, target in drawn:
        columns = ("id", "images", "image_sizes", "world_from_camera")
        row = shards.read(number, (*columns, *(_MATCH + c for c in ("source", "target", "flow_size", "flow"))))
        sizes = [tuple(row["image_sizes"][i]) for i in (source, target)]
        encoded = [row["images"][i]["bytes"] for i in (source, target)]
        patches, patch_grids = images.read(encoded, sizes, np.random.default_rng(0), row["id"])
        x, y = grids = [images.grid(size) for size in sizes]
        tokens = [t.float().cpu() for t in model.image_features(*map(torch.from_numpy, (patches, patch_grids)))]
        per_token = torch.from_numpy(patches).view(-1, model.processor.merge**2, 3, patches.shape[1] // 3)
        colours = per_token.float().mean(dim=(1, 3)).split([len(token) for token in tokens])
        ways = _flow(row, source, target), _flow(row, target, source)
        there, back = rebin(ways[0], x, y), rebin(ways[1], y, x)
        maps = {
            "token": (there, back),
            "region": (rebin(ways[0], REGIONS, REGIONS), rebin(ways[1], REGIONS, REGIONS)),
        }
        own, plain = (levels(each, grids, REGIONS[0], f) for each, f in ((tokens, unit), (colours, lambda c: c)))
        poses = [np.array(row["world_from_camera"][i]).reshape(4, 4) for i in (source, target)]
        where = {"overlap": (there.overlap + back.overlap) / 2, "viewpoint change, deg": rotation_deg(*poses)}
        for measure, value in where.items():
            for name in (label(value, EDGES[measure]), ALL):
                pairs[measure, name] += 1
                for level in LEVELS:
                    features, looks = ((side[0][level], side[1][level]) for side in (own, plain))
                    tables[level, measure][name].add(*maps[level], features, looks)
    return {
        f"{'patch' if level == 'token' else level} matching by {measure}": {
            name: {"count": pairs[measure, name]} | _shares(table[name])
            for name in (*_in_order(table, EDGES[measure]), ALL)
        }
        for (level, measure), table in tables.items()
    }


def matching_text(found: Mapping[str, Mapping[str, Table]]) -> str:
    """Recall@1 of several towers (name -> what `matching` found) side by side, for a terminal of 80 columns."""
    first = next(iter(found.values()))
    lines = []
    for title, table in first.items():
        rows = [
            [name, str(figures["count"]), str(figures["patches"])]
            + [f"{100 * tables[title][name]['recall@1']:.1f}" for tables in found.values()]
            + [f"{100 * figures[baseline]:.1f}" for baseline in BASELINES]
            for name, figures in table.items()
        ]
        lines += [f"{title}: recall@1", shown_table(("", "pairs", "patches", *found, *BASELINES), rows, last=1), ""]
    return "\n".join(lines[:-1])


def _held_out(data: Path) -> str:
    there = {file.name.partition("-")[0] for file in shard_files(data)}
    return next((split for split in ("test", "validation") if split in there), "train")


def _pairs(shards: Shards) -> list[tuple[int, int, int]]:
    """(row, source, target) of every pair of frames once, however many rows ask about it."""
    found: dict[tuple[str, frozenset[str]], tuple[int, int, int]] = {}
    for number, row in enumerate(shards.rows):
        ways = {(match["source"], match["target"]) for match in row["matches"]}
        for source, target in sorted(ways):
            if source < target and (target, source) in ways:
                frames = frozenset((row["frames"][source], row["frames"][target]))
                found.setdefault((row["scene"], frames), (number, source, target))
    return list(found.values())


def _flow(row: dict[str, Any], source: int, target: int) -> FlowField:
    match = next(m for m in row["matches"] if (m["source"], m["target"]) == (source, target))
    try:
        return FlowField.from_bytes(match["flow"], tuple(match["flow_size"]))
    except ValueError as error:
        raise ShardError(f"row {row['id']}: its flow field is damaged ({error}); rebuild its shards") from None


def _shares(figures: MatchFigures) -> dict[str, Any]:
    level = figures.level
    own, *others = (figures.shares(kind) for kind in ("features", *BASELINES))
    pck = {"PCK@0.1": own.get("PCK@0.1 token", 0.0)} if level == "token" else {}
    baselines = {name: one.get(f"recall@1 {level}", 0.0) for name, one in zip(BASELINES, others, strict=True)}
    return {"patches": figures.counted, "recall@1": own.get(f"recall@1 {level}", 0.0)} | pck | baselines


# Actions


def actions(data: Path, variant: str, replies: Mapping[str, str]) -> dict[str, Table]:
    """How far the actions in replies (row id -> text) end from the true view, by how much the camera moved.

    `turn deg` is the angle between the view reached and the true one, `move m` the distance; a pair that a reply does
    not give counts as no motion. `label` is the teacher's own rounding, `stay` a reply without any motion.
    """
    turns: dict[str, list[dict[str, float]]] = defaultdict(list)
    moves: dict[str, list[dict[str, float]]] = defaultdict(list)
    for row in open_shards(data, variant).rows:
        if row["id"] not in replies:
            continue
        said = {(i, j): steps for i, j, steps in parse_pairs(replies[row["id"]], strict=False)}
        poses = [np.array(pose).reshape(4, 4) for pose in row["world_from_camera"]]
        up = np.array(row["up"])
        for one in row["actions"]:
            i, j = one["source"], one["target"]
            wanted = _label(one, row["id"])
            truth = motion_between(poses[i], poses[j], up)
            figures = _errors(said.get((i, j)), wanted, truth, stance(poses[i], up), up)
            turns[label(rotation_deg(poses[i], poses[j]), ROTATION_DEG)].append(figures)
            moves[label(float(np.linalg.norm(poses[i][:3, 3] - poses[j][:3, 3])), DISTANCE_M)].append(figures)
    if not turns:
        return {}
    return {
        "actions by turn, deg": {name: _mean(turns[name]) for name in _in_order(turns, ROTATION_DEG)},
        "actions by distance, m": {name: _mean(moves[name]) for name in _in_order(moves, DISTANCE_M)},
    }


def _label(one: dict[str, Any], row: str) -> Actions:
    try:
        return parse_json(one["json"], one["vocabulary"])
    except ActionError as error:
        raise ShardError(f"row {row}: {error}; rebuild its shards") from None


def _errors(said: Actions | None, wanted: Actions, truth: Motion, start: Motion, up: NDArray) -> dict[str, float]:
    figures: dict[str, float] = {"said": float(said is not None), "exact": float(said == wanted)}
    for name, steps in (("", said or ()), ("label ", wanted), ("stay ", ())):
        reached = execute(steps)
        figures[f"{name}turn deg"] = _angle_deg(_rotation(start, reached, up).T @ _rotation(start, truth, up))
        gap = (reached.forward_m - truth.forward_m, reached.left_m - truth.left_m, reached.up_m - truth.up_m)
        figures[f"{name}move m"] = float(np.linalg.norm(gap))
    return figures


def _rotation(start: Motion, motion: Motion, up: NDArray) -> NDArray:
    """The orientation that a motion ends in: angles ride along and add."""
    pitch, roll = start.pitch_deg + motion.pitch_deg, start.roll_deg + motion.roll_deg
    return rotation_from_heading_pitch_roll(motion.yaw_deg, pitch, roll, up)


def _mean(figures: Sequence[dict[str, float]]) -> dict[str, Any]:
    return {"count": len(figures)} | {name: mean(one[name] for one in figures) for name in figures[0]}
