"""The command line: light to start, one line for what is wrong, exit codes, JSON that parses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hatch_data.cli import main
from hatch_data.shards import MANIFEST, read_manifest
from tests.builds import SMALL
from tests.layouts import redwood, room

pytestmark = pytest.mark.usefixtures("remembered_scans")

HEAVY = ("numba", "torch", "pyarrow", "scipy", "matplotlib", "pydantic", "numpy", "PIL", "trimesh", "rich", "tqdm")


def run(*arguments: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr)"""
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def small(out: Path, *arguments: str, scenes: str = "synthetic:1") -> tuple[int, str, str]:
    settings = [word for setting in SMALL for word in ("--set", setting)]
    return run("build", "--scenes", scenes, "--out", str(out), "--workers", "0", *settings, *arguments)


def refused(result: tuple[int, str, str]) -> str:
    """The one line on stderr with which a command ended that did nothing."""
    code, out, err = result
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("arguments", [["--help"], ["build", "--help"], ["verify", "--help"], ["inspect", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom hatch_data.cli import main\n"
        f"try:\n    main({arguments!r}, prog_name='hatch-data')\n"
        f"finally:\n    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.startswith("Usage: hatch-data")
    assert done.stderr.strip() == "[]"


def test_help_names_the_commands():
    code, out, _ = run("--help")
    assert code == 0
    assert all(f"  {name} " in out for name in ("build", "inspect", "verify"))


def test_a_build_is_summed_up_and_says_so_again(tmp_path):
    out = tmp_path / "out"
    code, first, err = small(out, "--limit", "5")
    assert code == 0
    assert first.rstrip().endswith(f"5 rows in {out}")
    assert "rows by task: " in first
    assert "scan" in err
    assert small(out, "--limit", "5")[:2] == (0, first)


def test_json_is_the_manifest_and_nothing_else(tmp_path):
    redwood.write(tmp_path / "scans" / "good", room.walk(8))
    redwood.write(tmp_path / "scans" / "bad", room.walk(2))
    for n in range(2):
        redwood.depth_file(tmp_path / "scans" / "bad", n).write_bytes(b"")
    settings = ("--set", "frames.every=1", "--set", "pairs.least_overlap=0.02", "--json")
    code, out, err = small(tmp_path / "out", *settings, scenes=str(tmp_path / "scans"))
    assert code == 1
    assert json.loads(out) == read_manifest(tmp_path / "out")
    events = [json.loads(line) for line in err.splitlines()]
    assert [event["scene"] for event in events if event["event"] == "failed"] == ["bad"]
    assert events[-1]["event"] == "progress"
    assert {name: events[-1][name] for name in ("scans", "done", "failed")} == {"scans": 2, "done": 1, "failed": 1}


def test_a_dry_run_writes_nothing(tmp_path):
    out = tmp_path / "out"
    code, told, _ = small(out, "--dry-run")
    assert code == 0
    assert f"would build into {out}" in told
    code, told, _ = small(out, "--dry-run", "--json")
    assert code == 0
    assert json.loads(told)["scans"] == 1
    assert list(tmp_path.iterdir()) == []


def test_the_seed_flag_is_the_setting(tmp_path):
    small(tmp_path / "flag", "--seed", "3", "--limit", "2")
    small(tmp_path / "set", "--set", "seed=3", "--limit", "2")
    assert read_manifest(tmp_path / "flag") == read_manifest(tmp_path / "set")


def test_wrong_use_is_one_line(tmp_path):
    out = tmp_path / "out"
    (tmp_path / "file").write_text("")
    assert "did you mean 'per_frame'?" in refused(small(out, "--set", "pairs.per_frme=2"))
    assert "did you mean 'default'?" in refused(small(out, "--recipe", "defalt"))
    assert "no such file or folder" in refused(small(out, scenes=str(tmp_path / "nowhere")))
    assert "unknown layout 'sevenscenes'" in refused(small(out, "--layout", "sevenscenes", scenes=str(tmp_path)))
    assert "is a file; name a folder for --out" in refused(small(tmp_path / "file"))
    assert not out.exists()
    (out / "mine").mkdir(parents=True)
    assert "is not empty and holds no build" in refused(small(out))


def test_a_build_that_cannot_give_a_row_is_one_line(tmp_path):
    code, out, err = small(tmp_path / "out", "--set", "pairs.least_overlap=1", "--set", "pairs.greatest_overlap=1")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("error: ")
    assert "no scan gave any row" in err.splitlines()[-1]
    assert not (tmp_path / "out" / MANIFEST).exists()


@pytest.mark.parametrize("arguments", [["build"], ["build", "--scenes", "synthetic:1"], ["bild"], ["verify"]])
def test_missing_arguments_exit_with_2(arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "Usage: " in err


@pytest.mark.parametrize("command", ["inspect", "verify", "audit"])
def test_a_url_is_to_be_copied_first(command):
    assert "is a URL" in (line := refused(run(command, "s3://bucket/shards"))) and "copy it to a local folder" in line
