"""A small number of spoilt inputs for every reader; `python -m tests.fuzz --inputs 2000` gives many."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fuzz.guarded import Guarded, Input, run
from tests.fuzz.mutate import spoil
from tests.fuzz.targets import TARGETS

INPUTS = 4


def test_no_reader_falls_over_spoilt_input(tmp_path: Path) -> None:
    inputs = [Input(target, number) for target in TARGETS for number in range(INPUTS)]
    outcomes = list(run(inputs, tmp_path))
    assert len(outcomes) == len(inputs)
    faults = [f"{one.target} --only {one.number}: {o.spoilt}: {o.said}" for one, o in outcomes if o.kind == "fault"]
    assert not faults, "\n".join(faults)
    kinds = {outcome.kind for _, outcome in outcomes}
    assert kinds == {"accepted", "refused"}  # neither is every input harmless, nor is none


def test_the_same_seed_spoils_the_same(tmp_path: Path) -> None:
    told = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        for k in range(4):
            (tmp_path / name / f"{k}.json").write_text('{"frames": [{"file_path": "a.jpg", "n": 3}], "k": 1.5}')
        told.append([spoil(tmp_path / name, seed) for seed in range(20)])
    assert told[0] == told[1]
    written = [
        {file.name: file.read_bytes() for file in (tmp_path / name).glob("*") if file.is_file()}
        for name in ("one", "other")
    ]
    assert written[0] == written[1]


def test_the_guard_sees_what_is_written_and_what_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere.txt"

    def write(root: Path) -> Path:
        root.mkdir()
        (root / "a.txt").write_text("1 2 3")
        return root

    def escapes(place: Path, out: Path) -> bool:
        elsewhere.write_text("x")
        return True

    def overwrites(place: Path, out: Path) -> bool:
        (out / "fine.txt").write_text("x")
        next(place.glob("*")).write_text("x")
        return True

    def falls(place: Path, out: Path) -> bool:
        raise KeyError("frames")

    def greedy(place: Path, out: Path) -> bool:
        return len(bytearray(3 << 30)) > 0

    for read in (escapes, overwrites, falls, greedy):
        monkeypatch.setitem(TARGETS, read.__name__, (read, (write,)))
    guarded = Guarded(tmp_path / "work")
    monkeypatch.setattr(guarded, "_sample", lambda target, form: (tmp_path / "sound", Path()))
    write(tmp_path / "sound")
    said = {name: guarded.outcome(Input(name, -1)) for name in ("escapes", "overwrites", "falls", "greedy")}
    assert {outcome.kind for outcome in said.values()} == {"fault"}
    assert str(elsewhere) in said["escapes"].said
    assert re.search(r"written outside.*a\.txt", said["overwrites"].said)
    assert "KeyError" in said["falls"].said and "MemoryError" in said["greedy"].said
