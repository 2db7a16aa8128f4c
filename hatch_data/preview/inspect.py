"""`hatch-data inspect`: choose rows of a folder, draw them, write the pictures and the page."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hatch_data.errors import ShardError
from hatch_data.preview import choose, distributions, page, picture
from hatch_data.preview.choose import Entry
from hatch_data.shards import MANIFEST, commit, read_manifest, write_text
from hatch_data.terminal import table

PAGE_NAME = "index.html"


@dataclass(frozen=True)
class Inspection:
    """What was looked at and written: all rows of the folder, those shown, and where their pictures lie."""

    folder: Path
    out: Path
    rows: list[Entry]
    shown: list[tuple[Entry, Path]]

    @property
    def page(self) -> Path:
        return self.out / PAGE_NAME

    def as_json(self) -> dict[str, Any]:
        """The result for machines: counts, paths, and what the rows shown are."""
        counts: dict[str, dict[str, int]] = {}
        for (task, split), number in sorted(Counter((row.task, row.split) for row in self.rows).items()):
            counts.setdefault(task, {})[split] = number
        shown = [
            {"id": row.id, "scene": row.scene, "task": row.task, "split": row.split, "picture": str(path)}
            for row, path in self.shown
        ]
        return {"folder": str(self.folder), "rows": counts, "page": str(self.page), "shown": shown}

    def as_text(self) -> str:
        """Counts by task and split for an 80-column terminal, and the paths."""
        counts = table(*page.count_table(self.rows))
        return f"{counts}\n\n{len(self.shown)} pictures in {self.out}\npage {self.page}"


def inspect(folder: Path, out: Path | None = None, count: int = 12, row_id: str | None = None) -> Inspection:
    """Draw `count` rows spread over splits and tasks (`choose.spread`), or the one with `row_id`.

    Writes `<task>-<id>.png` for each and `index.html` into `out`, by default `<folder>-preview` beside the folder,
    which itself is only read. Raises `ShardError`.
    """
    rows = choose.entries(folder)
    manifest = read_manifest(folder)
    out = _output(folder, out)
    chosen = choose.spread(rows, count) if row_id is None else [choose.by_id(rows, row_id, folder)]
    spreads, looked_at = distributions.measure(rows)
    cards, shown = [], []
    for entry, row in tqdm(choose.load(chosen), total=len(chosen), unit="row", desc="inspect", mininterval=1.0):
        drawn = picture.draw(row, entry.split)
        path = out / f"{_name(row.task)}-{_name(row.id)}.png"
        _write_bytes(path, drawn.png())
        cards.append(page.card(row, entry.split, drawn, path.name))
        shown.append((entry, path))
    title = f"{folder.resolve().name}: {len(rows):,} rows"
    write_text(out / PAGE_NAME, page.render(title, manifest, rows, spreads, looked_at, cards))
    return Inspection(folder, out, rows, shown)


def _output(folder: Path, out: Path | None) -> Path:
    """The folder for the pictures, made if need be. Raises `ShardError` where it is, or lies in, a build."""
    source = folder.resolve()
    out = source.with_name(f"{source.name}-preview") if out is None else out
    if out.resolve().is_relative_to(source):
        raise ShardError(f"{out}: lies in the folder that is shown, which is only read; name another for --out")
    if (out / MANIFEST).exists():
        raise ShardError(f"{out}: holds a build; name another folder for --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ShardError(f"{out}: cannot be made ({error.strerror}); name another folder for --out") from None
    return out


def _name(text: str) -> str:
    """As part of a file's name, whatever the text is."""
    return re.sub(r"[^\w-]", "-", text)[:80]


def _write_bytes(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    commit(partial, path)
