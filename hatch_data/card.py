"""The dataset card: what a build holds, as a README that the hub and people read, and pictures of how it is spread."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from hatch_data import sampling
from hatch_data.shards import SPLITS
from hatch_data.spread import BINS, Spread, total

_TITLES = {
    "overlap": "share of the surface of one view that the other sees, mean over a row's maps",
    "rotation": "rotation between the first two views of a row",
    "baseline": "distance between the first two views of a row",
    "answers": "which letter is the right answer of a multiple choice",
}
_COLOURS = {"train": "#3b6ea5", "validation": "#e0a030", "test": "#7a9a4b"}
#: Scans and tasks listed in full; all are in `build.json`.
_MOST_SCANS, _MOST_TASKS = 50, 40


def dataset_card(manifest: dict[str, Any]) -> str:
    """Markdown with the YAML head that `datasets` reads, from a build's manifest."""
    rows, scenes = manifest["totals"]["rows"], manifest["scenes"]
    present = [split for split in SPLITS if rows.get(split)]
    listed = list(scenes.items())[:_MOST_SCANS]
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
        *_by_split("task", {split: spread["tasks"] for split, spread in spreads(manifest).items()}),
        *_by_split("layout", _layouts(manifest)),
        *_strata(manifest["plan"]["recipe"]["questions_from"]),
        *(f"![{title}]({name}.png)" for name, title in _TITLES.items()),
        "",
        *_table("rejected question: reason", manifest["totals"]["rejected_questions"]),
        *_table("dropped frames: reason", manifest["totals"]["dropped_frames"]),
        "| scan | layout | up | frames used | rows |",
        "| --- | --- | --- | ---: | ---: |",
        *(
            f"| {name} | {s['layout']} | {s['up_source']} | {s['used_frames']} of {s['frames']} | "
            f"{'failed' if s['failure'] else sum(s['rows'].values())} |"
            for name, s in listed
        ),
        "",
        *([f"and {len(scenes) - len(listed)} more, in `build.json`.", ""] if len(scenes) > len(listed) else []),
        "Where a row comes from: `scene` and `frames` name the scan and its images, `build.json` says where the scan "
        "lay (`plan.scans`), with which settings (`plan.recipe`) and by which code (`plan.version`, `plan.code`) it "
        "was built. `id` is a hash of scene, frames, task, form, question and settings; `hatch-data verify THIS_FOLDER "
        "--scenes SCANS` builds the rows again and compares them bit for bit.",
        "",
        "Licences and terms of use are those of the scans. Depth, pose and camera conventions: OpenCV axes, metres, "
        "`world_from_camera`; see the documentation of hatch-spatial.",
        "",
    ]
    return "\n".join(lines)


def spreads(manifest: dict[str, Any]) -> dict[str, Spread]:
    """How the rows of each split are distributed."""
    shards = [shard for scene in manifest["scenes"].values() for shard in scene["shards"]]
    found = {split: total(shard["spread"] for shard in shards if shard["split"] == split) for split in SPLITS}
    return {split: spread for split, spread in found.items() if spread["tasks"]}


def pictures(manifest: dict[str, Any], folder: Path) -> list[Path]:
    """Draw the histograms of a build into `folder`; the files, PNG, named as the card names them."""
    from matplotlib.figure import Figure

    by_split = spreads(manifest)
    files = []
    for name, title in _TITLES.items():
        figure = Figure(figsize=(7.2, 3.0), layout="constrained")
        axes = figure.subplots()
        if name == "answers":
            _draw_answers(axes, by_split)
        else:
            _draw_histogram(axes, name, by_split)
        axes.set_title(title, fontsize=9, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        files.append(folder / f"{name}.png")
        # Without the version of the program that drew it: the same rows give the same bytes.
        figure.savefig(files[-1], dpi=110, metadata={"Software": None})
    return files


def _draw_histogram(axes: Any, name: str, by_split: dict[str, Spread]) -> None:
    unit, width, last = BINS[name]
    most = max((int(bin_) for spread in by_split.values() for bin_ in spread[name]), default=0)
    bottom = [0] * (most + 1)
    for split, spread in by_split.items():
        counts = [spread[name].get(str(k), 0) for k in range(most + 1)]
        places = [k * width for k in range(most + 1)]
        axes.bar(places, counts, width, bottom, align="edge", color=_COLOURS[split], label=split, edgecolor="white")
        bottom = [a + b for a, b in zip(bottom, counts, strict=True)]
    beyond = f", the last bin {last * width:g} {unit} and more" if most == last and name == "baseline" else ""
    axes.set_xlabel(f"{name} in {unit}{beyond}", fontsize=8)
    axes.set_ylabel("rows", fontsize=8)
    axes.set_xlim(0, (most + 1) * width)
    axes.legend(fontsize=8, frameon=False)


def _draw_answers(axes: Any, by_split: dict[str, Spread]) -> None:
    answers = total(by_split.values())["answers"]
    tasks = sorted(answers, key=lambda task: -sum(answers[task].values()))[:_MOST_TASKS]
    if not tasks:
        axes.text(0.5, 0.5, "no multiple choice among the rows", ha="center", va="center", fontsize=9)
        axes.set_axis_off()
        return
    axes.figure.set_size_inches(7.2, 1.3 + 0.3 * len(tasks))
    letters = sorted({letter for task in tasks for letter in answers[task]})
    for k, task in enumerate(reversed(tasks)):
        left, whole = 0.0, sum(answers[task].values())
        for n, letter in enumerate(letters):
            share = answers[task].get(letter, 0) / whole
            axes.barh(k, share, left=left, color=f"C{n}", edgecolor="white")
            if share > 0.04:
                axes.text(left + share / 2, k, letter, ha="center", va="center", fontsize=8, color="white")
            left += share
        axes.text(1.01, k, f"{whole:,}", va="center", fontsize=8)
    axes.set_yticks(range(len(tasks)), list(reversed(tasks)))
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.6, len(tasks) - 0.4)
    axes.set_xlabel("share of the rows of the task; their number on the right", fontsize=8)


def _split_sentence(by: str) -> str:
    if by == "time":
        return (
            "Splits are stretches of *time* of the same scan: validation shows the same place as training, seen later."
        )
    return "Splits are made by *space*: no place occurs in two splits."


def _strata(questions_from: str) -> list[str]:
    """How the views of a row were chosen, where the build chose them."""
    if questions_from != "families":
        return []
    classes = {
        "overlap": [f"{100 * edge:g} %" for edge in sampling.OVERLAP_EDGES],
        "rotation": [f"{edge:g}°" for edge in sampling.ROTATION_EDGES_DEG],
        "baseline": [f"{edge:g} m" for edge in sampling.BASELINE_EDGES_M],
        "occlusion": [f"{100 * edge:g} %" for edge in sampling.HIDDEN_EDGES],
        "texture": [f"{edge:g}" for edge in sampling.TEXTURE_EDGES],
    }
    edges = "; ".join(f"{name} below and above {', '.join(of_one)}" for name, of_one in classes.items())
    return [
        f"Pairs of views were drawn in turn from strata: {edges}. Occlusion: the share of the surface of one view that "
        "lies inside the image of the other, behind something; texture: bytes a pixel of the plainer image, as a share "
        "of the scan's median. Rows of more views grew from such pairs.",
        "",
    ]


def _layouts(manifest: dict[str, Any]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for scene in manifest["scenes"].values():
        for split, rows in scene["rows"].items():
            found.setdefault(split, Counter())[scene["layout"]] += rows
    return {split: dict(found[split]) for split in SPLITS if split in found}


def _by_split(head: str, counts: dict[str, dict[str, int]]) -> list[str]:
    """A table with a line for each name and a column for each split."""
    names = sorted({name for of_split in counts.values() for name in of_split})
    return [
        f"| {head} | {' | '.join(counts)} | rows |",
        f"| --- |{' ---: |' * (len(counts) + 1)}",
        *(
            f"| {name} | {' | '.join(str(of_split.get(name, 0)) for of_split in counts.values())} | "
            f"{sum(of_split.get(name, 0) for of_split in counts.values())} |"
            for name in names
        ),
        "",
    ]


def _table(head: str, counts: dict[str, int]) -> list[str]:
    if not counts:
        return []
    return [f"| {head} | count |", "| --- | ---: |", *(f"| {name} | {n} |" for name, n in counts.items()), ""]
