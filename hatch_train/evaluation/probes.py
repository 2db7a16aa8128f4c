"""Probes that need no benchmark, on held-out shards: does the vision encoder match patches, are the actions right.

Each breaks its figures down by how hard the pair is, beside what needs no model at all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from hatch_data.actions import Actions, execute, parse_json, parse_pairs
from hatch_data.errors import ActionError, ShardError
from hatch_data.geometry import rotation_from_heading_pitch_roll
from hatch_data.motion import Motion, motion_between, stance
from hatch_data.patches import FlowField, rebin
from hatch_train.data import Shards
from hatch_train.evaluation.held_out import open_shards
from hatch_train.evaluation.samples import mean, spread
from hatch_train.images import ImageReader
from hatch_train.metrics import MatchFigures
from hatch_train.model import VisionLanguageModel

#: Pairs of images that the matching probe looks at.
PAIRS = 400
OVERLAP = (0.2, 0.4, 0.6, 0.8)
ROTATION_DEG = (15, 30, 60, 90)
DISTANCE_M = (0.5, 1, 2)
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
def matching(model: VisionLanguageModel, data: Path, variant: str, limit: int = PAIRS) -> dict[str, Table]:
    """Patch-match recall@1 and PCK@0.1 of the tower's tokens, by overlap and by viewpoint change.

    `same position` and `mean colour` need no model.
    """
    split = _split(data, variant)
    shards = Shards([str(data)], split, ("scene", "frames", _MATCH + "source", _MATCH + "target"))
    images = ImageReader(model.processor, None, cache_mb=256)
    tables: dict[str, dict[str, MatchFigures]] = defaultdict(lambda: defaultdict(lambda: MatchFigures("token")))
    pairs: Counter[tuple[str, str]] = Counter()
    for number, source, target in spread(_pairs(shards), limit):
        columns = ("id", "images", "image_sizes", "world_from_camera")
        row = shards.read(number, (*columns, *(_MATCH + c for c in ("source", "target", "flow_size", "flow"))))
        sizes = [tuple(row["image_sizes"][i]) for i in (source, target)]
        encoded = [row["images"][i]["bytes"] for i in (source, target)]
        patches, grids = images.read(encoded, sizes, np.random.default_rng(0), row["id"])
        pixels = torch.from_numpy(patches)
        tokens = model.image_features(pixels, torch.from_numpy(grids))
        features = tuple(F.normalize(feature.float(), dim=-1).cpu() for feature in tokens)
        per_token = pixels.view(-1, model.processor.merge**2, 3, pixels.shape[1] // 3).float().mean(dim=(1, 3))
        colours = per_token.split([len(feature) for feature in features])
        x, y = (images.grid(size) for size in sizes)
        there = rebin(_flow(row, source, target), x, y)
        back = rebin(_flow(row, target, source), y, x)
        poses = [np.array(row["world_from_camera"][i]).reshape(4, 4) for i in (source, target)]
        where = {
            "overlap": label((there.overlap + back.overlap) / 2, OVERLAP),
            "viewpoint change, deg": label(rotation_deg(*poses), ROTATION_DEG),
        }
        for measure, name in where.items():
            tables[measure][name].add(there, back, (features[0], features[1]), (colours[0], colours[1]))
            pairs[measure, name] += 1
    edges = {"overlap": OVERLAP, "viewpoint change, deg": ROTATION_DEG}
    return {
        f"patch matching by {measure}": {
            name: {"count": pairs[measure, name]} | _shares(table[name]) for name in _in_order(table, edges[measure])
        }
        for measure, table in tables.items()
    }


def _split(data: Path, variant: str) -> str:
    return variant or open_shards(data, variant).files[0].name.partition("-")[0]


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
    own, position, colour = (figures.shares(kind) for kind in ("features", "same position", "mean colour"))
    return {
        "patches": figures.counted,
        "recall@1": own.get("recall@1 token", 0.0),
        "PCK@0.1": own.get("PCK@0.1 token", 0.0),
        "same position": position.get("recall@1 token", 0.0),
        "mean colour": colour.get("recall@1 token", 0.0),
    }


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
