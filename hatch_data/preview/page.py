"""One HTML page that shows a build: what it is, how it is distributed, and a card for each chosen row."""

from __future__ import annotations

import base64
from collections import Counter
from html import escape
from typing import Any

from hatch_data.preview.choose import Entry
from hatch_data.preview.distributions import Distribution
from hatch_data.preview.picture import Picture, encoded
from hatch_data.preview.template import PAGE
from hatch_data.preview.wording import Line, action_lines, question_lines
from hatch_data.shards import SPLITS, Row

_MOST_SCANS = 30
#: Reasons shown at once, the most frequent first.
_MOST_REASONS = 12
_SPLIT_RULES = {
    "space": "Splits are made by space: no place occurs in two splits.",
    "time": "Splits are stretches of time of the same scan: validation shows the same places, seen later.",
}


def render(
    title: str, manifest: dict[str, Any], rows: list[Entry], spreads: list[Distribution], seen: int, cards: list[str]
) -> str:
    """The whole page; `cards` are what `card` gave, `seen` the rows from which `spreads` were made."""
    scale = f"from {seen} of {len(rows)} rows" if seen < len(rows) else f"from all {seen} rows"
    return PAGE.substitute(
        title=escape(title),
        facts=_facts(manifest, rows),
        counts=_table(*count_table(rows)),
        reasons=_reasons(manifest["totals"]),
        scans=_scans(manifest["scenes"]),
        spreads="".join(_histogram(spread) for spread in spreads),
        scale=scale,
        shown=f"{len(cards)} of {len(rows)} rows",
        cards="\n".join(cards),
    )


def card(row: Row, split: str, picture: Picture, file: str) -> str:
    """One row as HTML, pictures inside; `file` is that of the whole picture, beside the page."""
    messages = "".join(
        f"<dt>{escape(message['role'])}</dt><dd>{escape(message['content'])}</dd>" for message in row.messages
    )
    about = " ".join(f"<span>{escape(word)}</span>" for word in (row.task, row.form, split) if word)
    frames = ", ".join(f"{k}: {frame}" for k, frame in enumerate(row.frames, 1))
    return f"""<article id="{escape(row.id)}">
<header><h3>{escape(row.scene)}</h3><p class="tags">{about}</p>
<p class="faint">frames {escape(frames)} &middot; row <code>{escape(row.id)}</code></p></header>
<div class="scroll">{_image(picture.crop(picture.images), "strip", "The images of the row, matching patches coloured")}
</div>
<div class="below"><div class="words">{_lines(question_lines(row))}{_lines(action_lines(row, row.actions))}
{_image(picture.crop(picture.stored), "stored", "The images as stored")}
<details><summary>Messages</summary><dl>{messages}</dl></details>
<p class="faint">The whole picture: <code>{escape(file)}</code></p></div>
{_image(picture.crop(picture.sketch), "sketch", "The cameras from above and the route of the actions")}</div>
</article>"""


def _lines(lines: list[Line]) -> str:
    parts = []
    for line in lines:
        if line.mark == "head":
            parts.append(f"<h4>{escape(line.text)}</h4>")
        elif line.text:
            parts.append(f'<p class="{line.mark or "plain"}">{escape(line.text)}</p>')
    return "".join(parts)


def _image(pixels: Any, kind: str, told: str) -> str:
    data = base64.b64encode(encoded(pixels, "WEBP", quality=78, method=3)).decode()
    height, width = pixels.shape[:2]
    return (
        f'<img class="{kind}" width="{width}" height="{height}" alt="{escape(told)}" '
        f'src="data:image/webp;base64,{data}">'
    )


def _facts(manifest: dict[str, Any], rows: list[Entry]) -> str:
    scenes = manifest["scenes"].values()
    failed = sum(bool(scene["failure"]) for scene in scenes)
    facts = [
        f"<b>{len(rows):,}</b> rows of <b>{len(scenes):,}</b> scan{'s' * (len(scenes) != 1)}"
        + (f", {failed} of which failed" if failed else ""),
        escape(_SPLIT_RULES.get(manifest["split"]["by"], f"Splits by {manifest['split']['by']}.")),
        f"Recipe <code>{escape(manifest['recipe_digest'])}</code>, seed {manifest['plan']['recipe']['seed']}, "
        f"hatch-spatial {escape(manifest['plan']['version'])}",
    ]
    return "".join(f"<p>{fact}</p>" for fact in facts)


def count_table(rows: list[Entry]) -> tuple[list[str], list[list[Any]]]:
    """Rows by task and split: the head, and one line for each task and for all of them."""
    counts = Counter((row.task, row.split) for row in rows)
    splits = [split for split in SPLITS if any(row.split == split for row in rows)]
    lines = []
    for task in [*sorted({row.task for row in rows}), "all"]:
        numbers = [sum(n for (t, s), n in counts.items() if s == split and task in (t, "all")) for split in splits]
        lines.append([task, *numbers, sum(numbers)])
    return ["task", *splits, "all"], lines


def _reasons(totals: dict[str, dict[str, int]]) -> str:
    names = {
        "rejected_questions": "questions not asked",
        "dropped_frames": "frames dropped",
        "left_out_pairs": "pairs left out",
    }
    parts = []
    for key, name in names.items():
        ranked = sorted(totals[key].items(), key=lambda item: (-item[1], item[0]))
        lines = [[reason.replace("_", " "), count] for reason, count in ranked] or [["none", 0]]
        shown, more = lines[:_MOST_REASONS], lines[_MOST_REASONS:]
        rest = f"<details><summary>{len(more)} more</summary>{_table([name, 'count'], more)}</details>" if more else ""
        parts.append(f"<div>{_table([name, 'count'], shown)}{rest}</div>")
    return "".join(parts)


def _scans(scenes: dict[str, dict[str, Any]]) -> str:
    head = ["scan", "layout", "up", "frames used", "groups", "rows"]
    lines = []
    for s in list(scenes.values())[:_MOST_SCANS]:
        used, rows = f"{s['used_frames']} of {s['frames']}", s["failure"] or sum(s["rows"].values())
        lines.append([s["scene"], s["layout"], s["up_source"], used, s["groups"], rows])
    more = len(scenes) - len(lines)
    return _table(head, lines) + (f"<p>... and {more:,} more, see build.json.</p>" if more else "")


def _table(head: list[str], lines: list[list[Any]]) -> str:
    def cell(value: Any) -> str:
        return f'<td class="n">{value:,}</td>' if isinstance(value, int) else f"<td>{escape(str(value))}</td>"

    numeric = [all(isinstance(line[k], int) for line in lines) for k in range(len(head))]
    kinds = [' class="n"' if is_number else "" for is_number in numeric]
    top = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, head, strict=True))
    body = "".join(f"<tr>{''.join(cell(value) for value in line)}</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _histogram(spread: Distribution) -> str:
    """Bars as inline SVG, the first and last edge and the median told below."""
    counts, edges = spread.counts, spread.edges
    width, height = 300, 90
    bar, most = width / len(counts), max(int(counts.max()), 1)
    bars = "".join(
        f'<rect x="{k * bar + 0.5:.1f}" y="{height * (1 - n / most):.1f}" width="{bar - 1:.1f}" '
        f'height="{height * n / most:.1f}"><title>{edges[k]:g} to {edges[k + 1]:g} {spread.unit}: {n} rows</title>'
        "</rect>"
        for k, n in enumerate(counts.tolist())
    )
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="Histogram of {spread.name}">{bars}</svg><div class="axis"><span>{edges[0]:g}</span>'
        f"<span>{edges[-1]:g} {spread.unit}{' and more' * bool((spread.values > edges[-1]).any())}</span></div>"
        f"<figcaption>{spread.name}</figcaption></figure>"
    )
