"""The last words of `make demo`: what was built and what training changed, from the files that both left behind.

python -m hatch_train.demo out/demo --since UNIX_SECONDS
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

#: Name in the table, stage, key of the report.
MEASURES = (
    ("patch-match recall@1, 4 x 4 regions", "alignment", "recall@1 region"),
    ("patch-match recall@1, tokens, to within one", "alignment", "recall@1 token"),
    ("reply in the right format", "supervised", "format right"),
    ("actions, exact match", "supervised", "action exact match"),
    ("answers right", "supervised", "answer right"),
)


def table(folder: Path, seconds: float) -> str:
    """The table for a folder with `shards/build.json`, `previews/index.html` and `run/report.json`, 80 columns wide.

    Held-out numbers, before and after training, beside the best that needs no model: the same position in the other
    image for matching, the most frequent reply for actions and answers.
    """
    build = json.loads((folder / "shards" / "build.json").read_text(encoding="utf-8"))
    report = json.loads((folder / "run" / "report.json").read_text(encoding="utf-8"))
    rows = build["totals"]["rows"]
    lines = [
        f"rows        {sum(rows.values())} ({', '.join(f'{split} {n}' for split, n in rows.items())})",
        f"scenes      {len(build['scenes'])}, held out by {build['split']['by']}",
        f"seconds     {seconds:.0f}, installation apart",
        f"previews    {folder / 'previews' / 'index.html'}",
        f"model       {report['model']}",
        "",
        f"{'on held-out rows':46s}{'before':>10s}{'after':>10s}{'no model':>12s}",
    ]
    for name, stage, key in MEASURES:
        before, after = report["stages"][stage]["before"], report["stages"][stage]["after"]
        plain = max(baseline[key] for baseline in after["baselines"].values())
        lines.append(f"{name:46s}{before[key]:10.1%}{after[key]:10.1%}{plain:12.1%}")
    lines += [
        "",
        "The tower learns to match in minutes. A language model this small, from scratch,",
        "learns little but the format; reasoning takes a pretrained one",
        "(recipes/qwen3b.yaml).",
    ]
    return "\n".join(lines)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--since", type=float, required=True, help="When the demo began, in seconds since 1970.")
def main(folder: Path, since: float) -> None:
    """Print what the demo in FOLDER made."""
    click.echo(table(folder, time.time() - since))


if __name__ == "__main__":
    main()
