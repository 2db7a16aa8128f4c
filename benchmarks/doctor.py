"""Ten faults put into six scans: what `hatch-data doctor` makes of them, and whether its fix gives the clean maps back.

    PYTHONPATH=. python benchmarks/doctor.py ../shared/scans/*-{7scenes,tum,redwood} synthetic:3

A row is right where exactly this fault is named, with a fix that undoes it: the settings that were injected, reversed,
or for jumps and drift frames and gaps that leave no wrong pose. `maps`: share of the weight of the
patch maps that does not lie where it does in the clean scan, over pairs that a build would choose, before and after.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import click

from hatch_data.doctor import examine
from hatch_data.recipe import ScanSettings
from hatch_data.repairs import repair
from hatch_data.scans import find
from hatch_data.scene import Scene
from tests import faults

MAP_PAIRS = 12


@click.command()
@click.argument("scans", nargs=-1, required=True)
@click.option("--only", default="", help="Faults whose name has this in it.")
def main(scans: tuple[str, ...], only: str) -> None:
    """Print a table for SCANS."""
    right = total = 0
    print(f"{'scan':22s}{'fault':28s}{'verdict':44s}{'maps':>13s}{'s':>6s}")
    for number, ref in enumerate(ref for name in scans for ref in find([name])):
        scene = faults.held(ref.load())
        found = [(v.weight, v.kind) for v in examine(scene).diagnosis.verdicts]
        print(f"{scene.id[:20]:22s}{'(none)':28s}{', '.join(f'{w}: {k}' for w, k in found) or 'sound'}", flush=True)
        for name, inject in faults.ten(scene, number):
            if only in name:
                good, line = row(scene, inject)
                right, total = right + good, total + 1
                print(f"{scene.id[:20]:22s}{name:28s}{line}{'' if good else '  WRONG'}", flush=True)
    print(f"{right} of {total} named correctly with the right fix")


def row(scene: Scene, inject: Callable[[], faults.Injected]) -> tuple[bool, str]:
    """Whether one fault was found and undone, and a line that tells."""
    injected = inject()
    start = time.perf_counter()
    found = examine(injected.scene).diagnosis
    seconds = time.perf_counter() - start
    told = "; ".join(f"{fault.kind} {short(fault.fix)}" for fault in found.faults) or "sound"
    # Colour that was moved has other maps than the clean scan: the truth is the moved scan, read as it was moved.
    moved = ScanSettings.model_validate(injected.fix) if injected.kind == "registration" else None
    truth = repair(injected.scene, moved) if moved else scene
    fixed = repair(injected.scene, found.settings)
    before = faults.map_difference(truth, injected.scene, faults.some_pairs(scene, MAP_PAIRS))
    after = faults.map_difference(truth, fixed, faults.some_pairs(scene, MAP_PAIRS, found.settings.longest_gap))
    good = [fault.kind for fault in found.faults] == [injected.kind] and faults.undoes(found, injected)
    return good, f"{told[:43]:44s}{before:6.3f} {after:6.3f}{seconds:6.1f}"


def short(fix: dict) -> str:
    """Settings in a few characters."""
    return " ".join(f"{key}={len(value) if key == 'skip' else value}" for key, value in fix.items())


if __name__ == "__main__":
    main()
