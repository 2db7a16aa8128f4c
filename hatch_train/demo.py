"""The last words of `make demo`: what was built and what training changed, from the files that both left behind.

python -m hatch_train.demo out/demo --since UNIX_SECONDS
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from hatch_train.metrics import paired

_REPLIES = (("reply in the right format", "format right"), ("action reward", "action agreement"))
#: Title and name of each stage; its measures in the table and in the report.
STAGES = (
    (
        "1 patch alignment: matching between views",
        "alignment",
        (
            ("recall@1, 4 x 4 regions", "recall@1 region"),
            ("recall@1, tokens, to within one", "recall@1 token"),
        ),
    ),
    ("2 supervised: actions, then the answer", "supervised", (*_REPLIES, ("answer reward", "answer reward"))),
    ("3 action then answer: rewards", "action_then_answer", (*_REPLIES, ("answer reward", "answer reward"))),
)


def table(folder: Path, seconds: float) -> str:
    """The table for a folder with `shards/build.json`, `previews/index.html` and `run/report.json`, 80 columns wide.

    Held-out numbers, before and after each stage, beside the best that needs no model: the same position or colour in
    the other image for matching, the constant reply that earns most for the others.
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
    for title, name, measures in STAGES:
        before, after = report["stages"][name]["before"], report["stages"][name]["after"]
        lines.append(title)
        for measure, key in measures:
            plain = max(baseline[key] for baseline in after["baselines"].values())
            lines.append(f"  {measure:44s}{before[key]:10.1%}{after[key]:10.1%}{plain:12.1%}")
    last = report["stages"]["action_then_answer"]
    if (change := paired(last["before"]["rows"], last["after"]["rows"], "action")) is not None:
        bounds = f"{change['low']:+.1%} to {change['high']:+.1%} at 95 %"
        lines.append(f"  action reward, paired on {change['rows']} rows: {change['difference']:+.1%} ({bounds})")
    lines += [
        "",
        "The tower learns to match in minutes. A language model this small, from scratch,",
        "learns the format and which actions are likely, not to look; reasoning takes a",
        "pretrained one (recipes/qwen3b.yaml).",
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
