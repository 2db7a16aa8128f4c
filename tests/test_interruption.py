"""The process group killed at random moments: a small number of what `benchmarks/interruption.py` does fifty times."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "interruption.py"


def test_killed_three_times():
    command = [sys.executable, str(SCRIPT), "--scenes", "synthetic:2", "--kills", "3", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kills" in done.stdout
    assert "scans built again that were done: 0; builds that differ from the undisturbed one: 0" in done.stdout
