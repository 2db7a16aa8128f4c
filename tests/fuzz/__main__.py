"""Give spoilt input to all readers: `python -m tests.fuzz --inputs 2000`; a table of what came of it."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.fuzz.guarded import Guarded, Input, Outcome, run
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Exit code 1 where there was a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100, help="for each target")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--target", action="append", choices=[*TARGETS], help="only these")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no other target after this time")
    parser.add_argument("--only", type=int, help="this input alone, in this process, told in full")
    parser.add_argument("--faults", type=int, default=3, help="faults of each kind told in full")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hatch-fuzz-") as folder:
        if options.only is not None:
            for target in options.target or TARGETS:
                print(Guarded(Path(folder) / "one").outcome(Input(target, options.only)))
            return 0
        return _all(options, Path(folder))


def _all(options: argparse.Namespace, folder: Path) -> int:
    table = Table(box=None, pad_edge=False, header_style="")
    for column in ("target", "inputs", "refused", "accepted", "faults", "slowest s", "peak MB", "s an input"):
        table.add_column(column, justify="left" if column == "target" else "right")
    faults, began = 0, time.monotonic()
    for number, target in enumerate(options.target or TARGETS):
        if time.monotonic() - began > options.seconds:
            break
        started = time.monotonic()
        inputs = [Input(target, options.first + k) for k in range(options.inputs)]
        outcomes = list(run(inputs, folder / str(number), options.processes))
        kinds = Counter(outcome.kind for _, outcome in outcomes)
        faults += kinds["fault"]
        slowest, most = max(o.seconds for _, o in outcomes), max(o.megabytes for _, o in outcomes)
        counts = (len(outcomes), kinds["refused"], kinds["accepted"], kinds["fault"])
        spent = (time.monotonic() - started) / len(outcomes)
        table.add_row(target, *map(str, counts), f"{slowest:.1f}", f"{most:.0f}", f"{spent:.2f}")
        print(f"{target}: {counts}", file=sys.stderr, flush=True)
        _tell(outcomes, options.faults)
    Console(width=100, highlight=False).print(table)
    return 1 if faults else 0


def _tell(outcomes: list[tuple[Input, Outcome]], most: int) -> None:
    """Faults, those that end in the same line of code told a few times."""
    told: Counter[str] = Counter()
    for one, outcome in outcomes:
        if outcome.kind == "fault":
            kind = "".join(line for line in outcome.said.splitlines() if 'File "' in line)[-200:] or outcome.said[:80]
            told[kind] += 1
            if told[kind] <= most:
                print(f"\n--- {one.target} --only {one.number}: {outcome.spoilt}\n{outcome.said}", flush=True)
    for kind, count in told.items():
        print(f"{count} times: {kind}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
