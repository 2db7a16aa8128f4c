"""Processes that read spoilt input under guard: what they write, how much memory they take, how long they work.

A process serves many inputs and is replaced when one of them ends it. Time is that of the processor, since machines
that run tests are shared: `ITIMER_PROF` ends a process wherever it is, in native code too. A process that neither works
nor answers is ended by its parent.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from hatch_data.engines.attempt import Caught
from hatch_data.errors import HatchError
from tests.fuzz.mutate import spoil

MOST_SECONDS, MOST_WAIT_S = 10.0, 120.0
#: A mesh whose poses are gone is explored and rendered, which is work.
LONGER = {"doctor": 60.0, "mesh": 60.0}
MOST_BYTES = 2 << 30
#: Compiled code of this project and its libraries is kept beside them; devices take what is written to them.
_HARMLESS = re.compile(r".*/__pycache__(/.*)?|/dev/(null|tty|shm/.*)|/proc/self/.*")
_WRITES = {"os.rename": 2, "os.remove": 1, "os.mkdir": 1, "os.rmdir": 1, "os.link": 2, "os.symlink": 2,
           "os.truncate": 1, "os.chmod": 1, "os.utime": 1}  # fmt: skip


@dataclass(frozen=True)
class Input:
    """The `number`-th spoilt input of a target."""

    target: str
    number: int


@dataclass(frozen=True)
class Outcome:
    """What came of it: `accepted`, `refused`, or `fault`, with what was done to the input and what was said."""

    kind: str
    spoilt: str
    said: str
    seconds: float = 0.0
    megabytes: float = 0.0


def run(inputs: Iterable[Input], samples: Path, processes: int = 2) -> Iterator[tuple[Input, Outcome]]:
    """The outcome of each input, as they come. `samples`: an empty folder for what is spoilt."""
    waiting = deque(inputs)
    crew = [_Process(samples / str(k)) for k in range(min(processes, len(waiting)))]
    try:
        for process in crew:
            process.give(waiting.popleft())
        while busy := [process for process in crew if process.input is not None]:
            wait([process.connection for process in busy], timeout=1.0)
            for process in busy:
                if (outcome := process.outcome()) is not None:
                    yield process.input, outcome
                    process.input = None
                    if waiting:
                        process.give(waiting.popleft())
    finally:
        for process in crew:
            process.end()


class _Process:
    def __init__(self, folder: Path):
        self._folder = folder
        self.input: Input | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._folder), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, one: Input) -> None:
        self.input, self._since = one, time.monotonic()
        self.connection.send(one)

    def outcome(self) -> Outcome | None:
        """What came of the input, if it is known by now. A process that is gone is replaced."""
        try:
            if self.connection.poll():
                return self.connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            code = self._process.exitcode or 0
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            what = "worked for too long" if how == "SIGPROF" else f"the process ended: {how}"
        else:
            if time.monotonic() - self._since < MOST_WAIT_S:
                return None
            what = f"no answer in {MOST_WAIT_S:g} s"
        assert self.input is not None
        self.end()
        self._start()
        note = self._folder / "spoilt.txt"
        return Outcome("fault", note.read_text() if note.exists() else "?", what, MOST_SECONDS)

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()


def _serve(connection: Connection, folder: Path) -> None:
    """Serve inputs until no more come."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # What native libraries print of broken files.
    os.dup2(null, 1)
    guarded = Guarded(folder)
    while True:
        try:
            one = connection.recv()
        except EOFError:
            return
        connection.send(guarded.outcome(one))


class Guarded:
    """Spoils and reads inputs in this process, below `folder`."""

    def __init__(self, folder: Path):
        from tests.fuzz.targets import TARGETS

        self._targets, self._folder = TARGETS, folder
        folder.mkdir(parents=True, exist_ok=True)
        self._sound: dict[tuple[str, int], tuple[Path, Path]] = {}
        self._written: list[str] = []
        self._count = 0
        self._watching = False
        sys.addaudithook(self._note)

    def outcome(self, one: Input) -> Outcome:
        """Spoil an input and read it."""
        read, forms = self._targets[one.target]
        sound, place = self._sample(one.target, one.number % len(forms))
        # A path of its own: what readers keep of a file they keep by its path.
        self._count += 1
        work = self._folder / "work" / str(self._count)
        shutil.rmtree(work.parent, ignore_errors=True)
        shutil.copytree(sound, work / "in", copy_function=os.link)
        spoilt = spoil(work / "in", one.number) if one.number >= 0 else "nothing"
        (self._folder / "spoilt.txt").write_text(f"{spoilt}", encoding="utf-8", errors="backslashreplace")
        out = work / "out"
        out.mkdir()
        before = _listing(self._folder)
        peak, began = _Peak(), time.process_time()
        signal.setitimer(signal.ITIMER_PROF, LONGER.get(one.target, MOST_SECONDS))
        kind, said = self._read(read, work / "in" / place, out)
        seconds, megabytes = time.process_time() - began, peak.megabytes()
        outside = [*self._written, *_differences(before, _listing(self._folder))]
        if outside:
            kind, said = "fault", f"written outside the output: {'; '.join(outside)}"
        elif megabytes > MOST_BYTES >> 20:
            kind, said = "fault", f"{megabytes:.0f} MB"
        return Outcome(kind, spoilt, said, seconds, megabytes)

    def _read(self, read: Any, place: Path, out: Path) -> tuple[str, str]:
        from tests.fuzz.targets import one_line

        tempfile.tempdir = str(out)
        self._written, self._out, self._watching = [], str(out), True
        limits, caught = _limit_memory(), Caught()
        kind, said = "fault", ""
        try:
            with caught:
                try:
                    kind = "accepted" if read(place, out) else "refused"
                except HatchError as error:
                    one_line(str(error))
                    kind, said = "refused", str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
            signal.setitimer(signal.ITIMER_PROF, 0)
            self._watching = False
        return (kind, said) if caught.error is None else ("fault", caught.log)

    def _sample(self, target: str, form: int) -> tuple[Path, Path]:
        """The folder with the sound input, read once so that all code is loaded and compiled; what of it is read."""
        if (target, form) not in self._sound:
            read, forms = self._targets[target]
            name = "shards" if target.startswith("shards") else f"{target}-{form}"
            root, new = self._folder.parent / "sound" / name, self._folder / "new"
            if root.exists():
                place = root / (root / "place.txt").read_text()
            else:  # Aside, then renamed: another process may be about to write the same.
                shutil.rmtree(new, ignore_errors=True)
                inside = forms[form](new).relative_to(new)
                (new / "place.txt").write_text(str(inside))
                root.parent.mkdir(exist_ok=True)
                with suppress(OSError):
                    new.rename(root)
                place = root / inside
            self._sound[target, form] = root, place.relative_to(root)
            with tempfile.TemporaryDirectory(dir=self._folder) as out:
                tempfile.tempdir = out
                assert read(place, Path(out)), f"{target}, form {form}: the sound input is not accepted"
        return self._sound[target, form]

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event == "open":
            path, mode, flags = args
            writes = bool(set(mode or "") & set("wax+")) or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            paths = (path,) if writes else ()
        else:
            paths = args[: _WRITES.get(event, 0)]
        for path in paths:
            if isinstance(path, str | bytes | os.PathLike):
                # Links are followed: what lies in the output by name may lie elsewhere.
                folder = f"/proc/self/fd/{args[-1]}" if event != "open" and isinstance(args[-1], int) else ""
                held = Path(folder) if folder and Path(folder).exists() else Path()
                real = os.path.realpath(held / os.fsdecode(path))
                if not real.startswith(self._out + os.sep) and real != self._out and not _HARMLESS.fullmatch(real):
                    self._written.append(f"{event} {real}")


class _Peak:
    """The most memory this process has held since now."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")

    def megabytes(self) -> float:
        found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        assert found is not None
        return int(found[1]) / 1024


def _limit_memory() -> tuple[int, int]:
    """No more than `MOST_BYTES` beyond the address space of now; the limits before."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES, before[1]))
    return before


def _listing(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, size and time of all files below a folder, less the output's."""
    found = {}
    for here, folders, names in os.walk(folder):
        if Path(here).parent == folder / "work":
            folders.remove("out")
        for name in (*names, *folders):
            path = Path(here) / name
            stat = path.lstat()
            found[str(path)] = (stat.st_ino, 0 if name in folders else stat.st_size, stat.st_mtime_ns)
    return found


def _differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
