"""Tiny benchmarks in the file formats in which they are published."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.train import rows

MV_TASKS = ("depth_prediction_oc_mv", "position_matching", "view_change_infer", "obj_spatial_relation_oo_mv")
SI_TASKS = ("distance_prediction_oo", "spatial_imagination_oc")
SPAR_ANSWERS = {"depth_prediction_oc_mv": "2.0", "distance_prediction_oo": "1.5", "view_change_infer": "move_right:1.0"}


def picture(seed: int, mode: str = "RGB") -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (64, 80, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(file, "png")
    return file.getvalue()


def struct(seed: int, mode: str = "RGB") -> dict[str, Any]:
    """An image as Hugging Face writes it into Parquet."""
    return {"bytes": picture(seed, mode), "path": None}


def parquet(path: Path, found: Sequence[dict[str, Any]], group: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(found)), path, row_group_size=group)


def spar(folder: Path, repeat: int = 2) -> Path:
    found = [
        {
            "id": str(n),
            "img_type": "multi_view" if task in MV_TASKS else "single_view",
            "format_type": "fill" if task in SPAR_ANSWERS else "select",
            "task": task,
            "source": "scannet",
            "image": [struct(n + i) for i in range(2 if task in MV_TASKS else 1)],
            "question": "Which one? A. left B. right C. up D. down",
            "answer": SPAR_ANSWERS.get(task, "B"),
        }
        for task in (*MV_TASKS, *SI_TASKS)
        for n in range(repeat)
    ]
    half = len(found) // 2
    parquet(folder / "data" / "test-00000-of-00002.parquet", found[:half])
    parquet(folder / "data" / "test-00001-of-00002.parquet", found[half:])
    return folder


def mindcube(folder: Path) -> Path:
    (folder / "raw").mkdir(parents=True)
    found = []
    for setting, images in (("among", 4), ("around", 3), ("rotation", 2)):
        names = [f"other_all_image/{setting}/scene/{i}.png" for i in range(images)]
        for i, name in enumerate(names):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(picture(i))
        found.append(
            {
                "id": f"{setting}_group1_q0_1",
                "category": ["P-P"],
                "type": "linear",
                "meta_info": [],
                "question": "What is to my left? A. Wooden chair B. TV C. Plant of a B. kind D. Lamp",
                "images": names,
                "gt_answer": "B",
            }
        )
    lines = "\n".join(json.dumps(row) for row in found)
    (folder / "raw" / "MindCube_tinybench.jsonl").write_text(lines + "\n")
    (folder / "raw" / "MindCube.jsonl").write_text(lines + "\n")
    return folder


def mmsi(folder: Path) -> Path:
    found = [
        {
            "id": n,
            "images": [picture(n), picture(n + 1)],
            "question_type": kind,
            "question": "Where is it? \nOptions: A: North, B: South, C: East, a bit, D: West",
            "answer": "B",
            "thought": "",
        }
        for n, kind in enumerate(("Motion (Cam.)", "Positional Relationship (Cam.–Obj.)"))
    ]
    parquet(folder / "MMSI_Bench.parquet", found)
    return folder


def cv_bench(folder: Path) -> Path:
    kinds = (("2D", "Count", "ADE20K"), ("2D", "Relation", "COCO"), ("3D", "Depth", "Omni3D"))
    for kind in ("2D", "3D"):
        found = [
            {
                "idx": n,
                "type": k,
                "task": task,
                "image": struct(n),
                "question": "How many?",
                "choices": ["2", "1"],
                "answer": "(B)",
                "prompt": "How many? Select from the following choices.\n(A) 2\n(B) 1",
                "filename": "x.png",
                "source": source,
            }
            for n, (k, task, source) in enumerate(kinds)
            if k == kind
        ]
        parquet(folder / f"test_{kind.lower()}.parquet", found)
    return folder


def blink(folder: Path) -> Path:
    for task, images in (("Visual_Correspondence", 2), ("Multi-view_Reasoning", 4)):
        row = {
            "idx": f"val_{task}_1",
            "question": "Which?",
            "sub_task": task,
            **{f"image_{i}": struct(i, "RGBA") if i <= images else None for i in range(1, 5)},
            "choices": ["the left one", "the right one"],
            "answer": "(B)",
            "prompt": "Which?\n(A) the left one\n(B) the right one",
            "explanation": "",
        }
        for split in ("val", "test"):
            parquet(folder / task / f"{split}-00000-of-00001.parquet", [row])
    return folder


def viewspatial(folder: Path) -> Path:
    folder.mkdir(parents=True)
    found = []
    for archive, kind in (
        ("scannetv2_val", "Camera perspective - Relative Direction"),
        ("val2017", "Person perspective - Object View Orientation"),
    ):
        with zipfile.ZipFile(folder / f"{archive}.zip", "w") as opened:
            opened.writestr(f"{archive}/scene/0.png", picture(1))
        found.append(
            {
                "question_type": kind,
                "image_path": [f"ViewSpatial-Bench/{archive}/scene/0.png"],
                "question": "Where is the chair?",
                "choices": "A. left\nB. right\nC. front\nD. back",
                "answer": "B. right",
            }
        )
    (folder / "ViewSpatial-Bench.json").write_text(json.dumps(found))
    return folder


def vsi_in_parts(folder: Path) -> Path:
    """As it is published since November 2025."""
    return vsi(folder, {"test_pruned": slice(0, 2), "test_debiased": slice(2, None)})


def vsi(folder: Path, parts: dict[str, slice] | None = None) -> Path:
    found = [
        ("object_counting", None, "4", "one"),
        ("object_rel_direction_easy", ["A. left", "B. right"], "B", "two"),
        ("object_rel_direction_hard", ["A. left", "B. right"], "B", "two"),
    ]
    questions = [
        {
            "id": n,
            "dataset": "scannet",
            "scene_name": scene,
            "question_type": kind,
            "question": "How?",
            "options": options,
            "ground_truth": truth,
        }
        for n, (kind, options, truth, scene) in enumerate(found)
    ]
    for name, some in (parts or {"test-00000-of-00001": slice(None)}).items():
        parquet(folder / f"{name}.parquet", questions[some])
    (folder / "scannet" / "one").mkdir(parents=True)
    for i in range(3):
        (folder / "scannet" / "one" / f"{i:04d}.png").write_bytes(picture(i))
    with av.open(str(folder / "scannet" / "two.mp4"), "w") as video:
        stream = video.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 80, 64, "yuv420p"
        for i in range(5):
            picture_of = np.full((64, 80, 3), 40 * i, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture_of, "rgb24")):
                video.mux(packet)
        for packet in stream.encode():
            video.mux(packet)
    return folder


def held_out(folder: Path) -> Path:
    return rows.build(folder, train=0, validation=5, images=3)


#: Name on the command line -> what writes it, and how many questions it has.
WRITERS: dict[str, tuple[Callable[[Path], Path], int]] = {
    "spar": (spar, 12),
    "spar_mv": (spar, 8),
    "spar_si": (spar, 4),
    "spar_tiny": (spar, 12),
    "mindcube": (mindcube, 3),
    "mindcube_tiny": (mindcube, 3),
    "mmsi": (mmsi, 2),
    "cv_bench": (cv_bench, 3),
    "blink": (blink, 2),
    "viewspatial": (viewspatial, 2),
    "vsi": (vsi, 3),
    "vsi_debiased": (vsi_in_parts, 1),
    "held_out": (held_out, 5),
    "held_out_validation": (held_out, 5),
}
