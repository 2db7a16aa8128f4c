"""Rows of a textured wall seen from several poses: the flow between them is a homography, known exactly."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from hatch_data.actions import ActionLanguage, encode, format_pairs, to_json, to_text
from hatch_data.motion import Motion
from hatch_data.patches import FLOW_CODE, FLOW_STEPS, FlowField, Visibility, rebin, token_grid
from hatch_data.shards import ActionLabel, Match, Row, ShardWriter

HEIGHT, WIDTH, FOCAL = 84, 112, 90.0
WALL_M = 2.0
LANGUAGE = ActionLanguage()


def pose(x_m: float, y_m: float, yaw_deg: float) -> np.ndarray:
    """`world_from_camera` in front of the wall z = 2 m; yaw to the left is positive, y points down."""
    yaw = np.deg2rad(yaw_deg)
    world_from_camera = np.eye(4)
    world_from_camera[:3, :3] = [[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]]
    world_from_camera[:3, 3] = x_m, y_m, 0
    return world_from_camera


def on_wall(world_from_camera: np.ndarray, x_px: np.ndarray, y_px: np.ndarray) -> np.ndarray:
    """(..., 2) wall coordinates, metres, that pixels see."""
    rays = np.stack([(x_px - (WIDTH - 1) / 2) / FOCAL, (y_px - (HEIGHT - 1) / 2) / FOCAL, np.ones_like(x_px)], -1)
    world = rays @ world_from_camera[:3, :3].T
    return world_from_camera[:2, 3] + world[..., :2] * (WALL_M / world[..., 2:])


def picture(world_from_camera: np.ndarray, seed: int) -> bytes:
    """A PNG of the wall, whose colours are sums of waves of their own for each seed."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(WIDTH, dtype=float), np.arange(HEIGHT, dtype=float))
    wall = on_wall(world_from_camera, x, y)
    waves = np.sin(wall @ rng.normal(0, 5, (2, 24)) + rng.uniform(0, 6, 24))
    colours = 128 + waves @ rng.normal(0, 22, (24, 3))
    file = io.BytesIO()
    Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8)).save(file, "png")
    return file.getvalue()


def flow(world_from_source: np.ndarray, world_from_target: np.ndarray) -> FlowField:
    """The exact flow on a lattice of 2-px cells."""
    x, y = np.meshgrid(np.arange(0.5, WIDTH, 2), np.arange(0.5, HEIGHT, 2))
    wall = on_wall(world_from_source, x, y)
    world = np.concatenate([wall, np.full((*wall.shape[:2], 1), WALL_M)], -1) - world_from_target[:3, 3]
    seen = world @ world_from_target[:3, :3]
    share_x = (seen[..., 0] / seen[..., 2] * FOCAL + WIDTH / 2) / WIDTH
    share_y = (seen[..., 1] / seen[..., 2] * FOCAL + HEIGHT / 2) / HEIGHT
    inside = (share_x >= 0) & (share_x < 1) & (share_y >= 0) & (share_y < 1)
    values = np.round(np.stack([share_x, share_y], -1) * FLOW_STEPS)
    values = np.where(inside[..., None], values, [FLOW_CODE + Visibility.OUT_OF_VIEW, 0])
    return FlowField(values.astype(np.uint16))


def row(number: int, images: int = 2) -> Row:
    """A row whose images look at one wall, each from another place."""
    rng = np.random.default_rng(number)
    poses = [pose(*rng.uniform(-0.25, 0.25, 2), 5 * int(rng.integers(-3, 4))) for _ in range(images)]
    yaws = [np.rad2deg(np.arctan2(p[2, 0], p[0, 0])) for p in poses]
    grid = token_grid(HEIGHT, WIDTH)
    pairs = [(i, j) for i in range(images) for j in range(images) if i != j]
    flows = {pair: flow(poses[pair[0]], poses[pair[1]]) for pair in pairs}
    actions = {(i, j): encode(Motion(yaw_deg=yaws[j] - yaws[i]), LANGUAGE) for i, j in pairs if i < j}
    question = f"Which way does the camera turn after image {number % 3 + 1}?"
    answer = "ABC"[number % 3]
    reply = f"<action>{format_pairs([(i, j, a) for (i, j), a in actions.items()])}</action><answer>{answer}</answer>"
    return Row(
        id=f"row-{number:04d}",
        scene=f"wall-{number}",
        layout="wall",
        frames=[f"{number}-{i}" for i in range(images)],
        images=[picture(p, number) for p in poses],
        image_paths=[f"{i}.png" for i in range(images)],
        image_sizes=[(HEIGHT, WIDTH)] * images,
        intrinsics=[(FOCAL, FOCAL, (WIDTH - 1) / 2, (HEIGHT - 1) / 2)] * images,
        world_from_camera=poses,
        up=np.array([0.0, -1.0, 0.0]),
        task="turn",
        form="choice",
        question=question,
        answer=answer,
        options=["left", "right", "not at all"],
        actions=[ActionLabel(i, j, "full", to_text(a), to_json(a)) for (i, j), a in actions.items()],
        matches=[Match(i, j, rebin(flows[i, j], grid, grid), flows[i, j]) for i, j in pairs],
        messages=[
            {"role": "user", "content": "<image>" * images + f"\n{question}"},
            {"role": "assistant", "content": reply},
        ],
    )


def write(folder: Path, split: str, rows: Sequence[Row], shards: int = 1) -> None:
    """Rows dealt out to the shards of a split."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(shards):
        writer = ShardWriter(folder / f"{split}-{number:05d}-of-{shards:05d}.parquet")
        for one in rows[number::shards]:
            writer.write(one)
        writer.close()


def build(folder: Path, train: int = 24, validation: int = 6, images: int = 2) -> Path:
    """A folder of shards as hatch-data leaves it."""
    write(folder, "train", [row(n, images) for n in range(train)], shards=2)
    write(folder, "validation", [row(1000 + n, images) for n in range(validation)])
    (folder / "build.json").write_text(json.dumps({"split": {"by": "space"}}))
    return folder


def without_answer(one: Row) -> Row:
    return replace(one, answer=" ")


def with_broken_image(one: Row) -> Row:
    return replace(one, images=[one.images[0], one.images[1][:200]])
