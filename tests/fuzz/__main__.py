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
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
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
    targets = options.target or list(TARGETS)
    # Ten of each target in turn: where the time ends, all have come to about as many.
    turns = range(0, options.inputs, 10)
    inputs = [
        Input(t, options.first + k) for n in turns for t in targets for k in range(n, min(n + 10, options.inputs))
    ]
    began = time.monotonic()
    outcomes: dict[str, list[tuple[Input, Outcome]]] = {target: [] for target in targets}
    for one, outcome in run(inputs, folder, options.processes):
        outcomes[one.target].append((one, outcome))
        if outcome.kind == "fault":
            print(
                f"{one.target} --only {one.number}: {outcome.said.strip().splitlines()[-1]}",
                file=sys.stderr,
                flush=True,
            )
        if time.monotonic() - began > options.seconds:
            break
    for found in outcomes.values():
        _tell(found, options.faults)
    Console(width=100, highlight=False).print(_table(outcomes))
    return 1 if any(outcome.kind == "fault" for found in outcomes.values() for _, outcome in found) else 0


def _table(outcomes: dict[str, list[tuple[Input, Outcome]]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="")
    for column in ("target", "inputs", "refused", "accepted", "faults", "slowest s", "peak MB"):
        table.add_column(column, justify="left" if column == "target" else "right")
    for target, found in outcomes.items():
        kinds = Counter(outcome.kind for _, outcome in found)
        slowest = max((outcome.seconds for _, outcome in found), default=0.0)
        most = max((outcome.megabytes for _, outcome in found), default=0.0)
        counts = (len(found), kinds["refused"], kinds["accepted"], kinds["fault"])
        table.add_row(target, *map(str, counts), f"{slowest:.1f}", f"{most:.0f}")
    return table


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
