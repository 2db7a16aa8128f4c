"""Tables for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from rich.console import Console
from rich.table import Table


def table(head: Sequence[str], lines: Iterable[Sequence[object]], left: Collection[str] = ()) -> str:
    """Lines below a head. The first column and those named in `left` stand to the left, all others to the right."""
    shown = Table(box=None, pad_edge=False, header_style="")
    for name in head:
        shown.add_column(name, justify="left" if name == head[0] or name in left else "right", overflow="fold")
    for line in lines:
        shown.add_row(*map(str, line))
    console = Console(width=80, highlight=False, force_terminal=False)
    with console.capture() as capture:
        console.print(shown)
    return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())
