"""The dataset card: what a build holds, as a README that the hub and people read."""

from __future__ import annotations

from typing import Any

from hatch_data.shards import SPLITS


def dataset_card(manifest: dict[str, Any]) -> str:
    """Markdown with the YAML head that `datasets` reads, from a build's manifest."""
    rows, scenes = manifest["totals"]["rows"], manifest["scenes"]
    present = [split for split in SPLITS if rows.get(split)]
    lines = [
        "---",
        "configs:",
        "- config_name: default",
        "  data_files:",
        *(f'  - split: {split}\n    path: "{split}-*.parquet"' for split in present),
        "tags: [spatial-reasoning, multi-image, correspondence]",
        "---",
        "# Multi-image spatial reasoning data",
        "",
        f"{sum(rows.values())} samples of {len(scenes)} scan(s), made by hatch-spatial "
        f"{manifest['plan']['version']} with seed {manifest['plan']['recipe']['seed']}. Each row holds its images, "
        "poses, intrinsics, per-patch correspondence maps, action strings, a question and its answer.",
        "",
        "```python",
        'datasets.load_dataset("parquet", data_dir="THIS_FOLDER")',
        "```",
        "",
        _split_sentence(manifest["split"]["by"]),
        "",
        *_table("split", rows),
        *_table("task", manifest["totals"]["tasks"]),
        *_table("rejected question: reason", manifest["totals"]["rejected_questions"]),
        *_table("dropped frames: reason", manifest["totals"]["dropped_frames"]),
        "| scan | layout | up | frames used | pairs | rows |",
        "| --- | --- | --- | ---: | ---: | ---: |",
        *(
            f"| {name} | {s['layout']} | {s['up_source']} | {s['used_frames']} of {s['frames']} | {s['groups']} | "
            f"{sum(s['rows'].values())} |"
            for name, s in scenes.items()
        ),
        "",
        "Licences and terms of use are those of the scans. Depth, pose and camera conventions: OpenCV axes, metres, "
        "`world_from_camera`, planar depth, pixel centres at integers.",
        "",
    ]
    return "\n".join(lines)


def _split_sentence(by: str) -> str:
    if by == "time":
        return (
            "Splits are stretches of *time* of the same scan: validation shows the same place as training, seen later."
        )
    return "Splits are made by *space*: no place occurs in two splits."


def _table(head: str, counts: dict[str, int]) -> list[str]:
    if not counts:
        return []
    return [f"| {head} | count |", "| --- | ---: |", *(f"| {name} | {n} |" for name, n in counts.items()), ""]
