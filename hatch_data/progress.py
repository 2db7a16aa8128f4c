"""Progress of a build on stderr: a bar for people, a plain line every few seconds for logs, JSON lines for machines."""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Literal

from tqdm import tqdm

from hatch_data.engines import Outcome, UnderWay

Style = Literal["bar", "lines", "json"]
#: Seconds between plain lines.
EVERY_S = 5.0


@dataclass
class Progress:
    """Counts what comes in and shows it, also while nothing does. `done` and `failed` may be from before a rerun."""

    scans: int
    done: int = 0
    failed: int = 0
    rows: int = 0
    style: Style | None = None
    every_s: float = EVERY_S
    _began: float = field(default_factory=time.monotonic)
    _new: int = 0
    _frames: int = 0
    _bytes: int = 0
    _busy_s: float = 0.0
    _reading_s: float = 0.0
    _under_way: dict[str, UnderWay] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.style = self.style or ("bar" if sys.stderr.isatty() else "lines")
        self._ended = threading.Event()
        self._bar = (
            tqdm(total=self.scans, initial=self.done + self.failed, unit="scan", desc="build", mininterval=1.0)
            if self.style == "bar"
            else None
        )
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Progress:
        self._ticker.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ended.set()
        self._ticker.join()
        if self._bar is not None:
            self._bar.close()
        else:
            self._show()

    def come_to(self, step: UnderWay) -> None:
        """A scan has come so far; shown until it is counted."""
        self._under_way[step.scene] = step
        if self._bar is not None:
            self._bar.set_postfix_str(self._rates(), refresh=False)

    def add(self, outcome: Outcome) -> None:
        """Count a scan and name it if it failed."""
        report = outcome.report
        self._under_way.pop(report.scene, None)
        self._new += 1
        self._frames += report.frames
        self._bytes += sum(shard["bytes"] for shard in report.shards)
        self._busy_s += outcome.seconds
        self._reading_s += outcome.reading_s
        self.rows += sum(report.rows.values())
        if report.failure:
            self.failed += 1
            self._say_failed(report.scene, report.failure)
        else:
            self.done += 1
        if self._bar is not None:
            self._bar.update()
            self._bar.set_postfix_str(self._rates())

    def now(self) -> dict[str, Any]:
        """The counts and rates of this run. `decode_share`: of the time of all workers, the share that went into the
        first reading of every image; a build that did nothing else would be faster by its inverse. A scan whose rows
        are being made counts for what is left by its part of them."""
        elapsed = max(time.monotonic() - self._began, 1e-9)
        under_way = list(self._under_way.values())
        part = sum(step.done / step.of for step in under_way if step.what == "rows")
        left = self.scans - self.done - self.failed - part
        return {
            "scans": self.scans,
            "done": self.done,
            "failed": self.failed,
            "rows": self.rows,
            "frames_per_s": round(self._frames / elapsed, 1),
            "mb_per_s": round(self._bytes / elapsed / 1e6, 2),
            "decode_share": round(self._reading_s / self._busy_s, 3) if self._busy_s else None,
            "elapsed_s": round(elapsed, 1),
            "eta_s": round(elapsed / (self._new + part) * left) if self._new + part else None,
            "under_way": [asdict(step) for step in under_way],
        }

    def _rates(self) -> str:
        now = self.now()
        parts = [f"{self.failed} failed"] if self.failed else []
        if len(now["under_way"]) == 1:
            parts.append("{scene}: {done}/{of} {what}".format(**now["under_way"][0]))
        elif now["under_way"]:
            rows = sum(step["done"] for step in now["under_way"] if step["what"] == "rows")
            parts.append(f"{len(now['under_way'])} under way ({rows:,} rows)")
        if self._new or not parts:
            parts += [
                f"{now['rows']:,} rows",
                f"{now['frames_per_s']:.0f} frames/s",
                f"{now['mb_per_s']:.1f} MB/s written",
            ]
        if now["decode_share"] is not None:
            parts.append(f"{now['decode_share']:.0%} of the decode-bound limit")
        return ", ".join(parts)

    def _show(self) -> None:
        if self.style == "json":
            print(json.dumps({"event": "progress", **self.now()}), file=sys.stderr, flush=True)
            return
        eta = self.now()["eta_s"]
        left = "" if eta is None or self.done + self.failed == self.scans else f", {_duration(eta)} left"
        print(
            f"build: {self.done + self.failed}/{self.scans} scans, {self._rates()}{left}", file=sys.stderr, flush=True
        )

    def _say_failed(self, scene: str, reason: str) -> None:
        if self.style == "json":
            line = json.dumps({"event": "failed", "scene": scene, "reason": reason})
        else:
            line = f"failed: {scene}: {reason}"
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def _tick(self) -> None:
        while not self._ended.wait(self.every_s):
            if self._bar is not None:
                self._bar.refresh()
            else:
                self._show()


def _duration(seconds: float) -> str:
    """Rounded to what matters: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
