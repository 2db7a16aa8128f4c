"""SPAR-7M-RGBD as it is downloaded: scenes below `scannet/images`, questions below `scannet/qa_jsonl`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hatch_data.geometry import Array
from tests.layouts import spar

#: Task -> (marks with their image indices, the names of the marks).
MARKED = {
    "depth_prediction_oo_mv": ("point", ("red", "blue", "green"), (0, 2, 1)),
    "distance_infer_center_oo_mv": ("point", ("red", "green", "blue"), (0, 1, 2)),
    "spatial_imagination_oc_mv": ("bbox", ("green", "blue", "red"), (2, 1, 0)),
    "obj_spatial_relation_oo_mv": ("bbox", ("red", "green"), (1, 0)),
    "view_change_infer": ("", (), ()),
}


def write_scene(root: Path, scene: str, poses: dict[int, Array]) -> Path:
    folder = root / "scannet" / "images" / scene
    spar.write(folder, poses)
    return folder


def entry(scene: str, number: int, task: str, form: str, images: list[int]) -> dict[str, Any]:
    """A question in SPAR's form; where its marks lie follows from their order."""
    kind, colors, where = MARKED[task]
    asked = f"Question {number} about the {' and '.join(colors) or 'view'}?"
    if form == "select":
        asked += "\nOptions:\nA. left\nB. right\nC. behind\nD. in front"
    answer = "ABCD"[number % 4] if form == "select" else f"{number}.5"
    marks: dict[str, Any] = {f"{color}_{kind}": [mark(kind, k)] for k, color in enumerate(colors)}
    if colors:
        marks[f"{kind}_img_idx"] = [list(where)]
    return {
        "id": f"{scene}_{number}",
        "conversations": [
            {"from": "human", "value": "<image>\n" * len(images) + asked},
            {"from": "gpt", "value": answer},
        ],
        "image": [f"{scene}/image_color/{spar.frame_id(n)}.jpg" for n in images],
        "depth": [f"{scene}/image_depth/{spar.frame_id(n)}.png" for n in images],
        "type": task,
        **marks,
    }


def mark(kind: str, k: int) -> list[int]:
    x, y = 200 + 150 * k, 300 + 100 * k
    return [x, y] if kind == "point" else [x, y, x + 120, y + 90]


def write_questions(root: Path, task: str, form: str, entries: list[dict[str, Any]]) -> Path:
    file = root / "scannet" / "qa_jsonl" / "train" / task / form / f"{form}_{len(entries)}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(one) + "\n" for one in entries))
    return file
