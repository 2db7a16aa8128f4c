"""The guesser finds what text gives away, and nothing where it gives nothing away."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from hatch_data.audit import audit, guess_choices
from hatch_data.cli import main
from hatch_data.errors import ShardError
from hatch_data.questions import LETTERS
from hatch_data.shards import shard_files
from tests.builds import build_small

WORDS = ("front", "left", "right", "back")


def row(rng: np.random.Generator, question: str, options: list[str], truth: str) -> dict[str, Any]:
    order = [options[k] for k in rng.permutation(len(options))]
    lines = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, order, strict=False))
    return {"question": f"{question}\n{lines}", "options": order, "answer": LETTERS[order.index(truth)]}


def fair(rng: np.random.Generator) -> dict[str, Any]:
    options = [str(word) for word in rng.permutation(WORDS)[:3]]
    return row(rng, f"Where, seen from the {rng.choice(['door', 'table'])}?", options, options[0])


def common_answer(rng: np.random.Generator) -> dict[str, Any]:
    truth = str(rng.choice(WORDS, p=[0.6, 0.2, 0.1, 0.1]))
    return row(rng, "Where?", list(WORDS), truth)


def told_by_the_question(rng: np.random.Generator) -> dict[str, Any]:
    about, truth = [("door", "left"), ("table", "right")][int(rng.random() < 0.5)]
    return row(rng, f"Where is the {about}?", ["left", "right"], truth)


def middle_number(rng: np.random.Generator) -> dict[str, Any]:
    value = rng.uniform(1, 5)
    options = [f"{value * factor:.2f} m" for factor in (0.5, 1.0, 1.5)]
    return row(rng, "How far?", options, options[1])


def first_letter(rng: np.random.Generator) -> dict[str, Any]:
    order = [str(word) for word in rng.permutation(WORDS)]
    return {"question": "Where?", "options": order, "answer": "A" if rng.random() < 0.5 else "C"}


@pytest.mark.parametrize(
    ("make", "least", "most"),
    [
        (fair, 0.28, 0.39),
        (common_answer, 0.52, 0.68),
        (told_by_the_question, 0.97, 1.0),
        (middle_number, 0.97, 1.0),
        (first_letter, 0.42, 0.58),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_guessed(make, least, most):
    rng = np.random.default_rng(0)
    train, held_out = ([make(rng) for _ in range(count)] for count in (900, 700))
    guess = guess_choices(train, held_out)
    assert guess is not None
    assert least < guess.right <= most
    assert guess.low < guess.right < guess.high or guess.right == guess.high == 1
    assert guess.chance == pytest.approx(np.mean([1 / len(row["options"]) for row in held_out]))
    assert guess.gives_away == (make is not fair)


def test_nothing_to_learn_from_or_to_try():
    rows = [fair(np.random.default_rng(0))]
    assert guess_choices([], rows) is None
    assert guess_choices(rows, []) is None


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    out = tmp_path_factory.mktemp("audit") / "build"
    build_small(out, "synthetic:3", "split.validation=0.4")
    return out


def test_a_build_is_told_by_family(build):
    found = {one.task: one for one in audit(build).families}
    assert found.keys() <= {"patch_match", "camera_motion", "camera_position"}
    motion = found["camera_motion"]
    assert sum(motion.rows.values()) == sum(motion.forms.values())
    assert motion.choice
    assert 0 < motion.choice.tried < motion.forms["choice"]
    told = CliRunner().invoke(main, ["audit", str(build)])
    assert all(len(line) <= 80 for line in told.stdout.splitlines()[: len(found) + 3])
    assert "camera_motion" in told.stdout
    parsed = json.loads(CliRunner().invoke(main, ["audit", str(build), "--json"]).stdout)
    assert {one["task"] for one in parsed["families"]} == found.keys()
    assert told.exit_code == int(any(one["findings"] for one in parsed["families"]))


def test_no_build(tmp_path):
    told = CliRunner().invoke(main, ["audit", str(tmp_path)])
    assert told.exit_code == 2
    assert told.stderr.startswith("error: ")


def changed(build: Path, folder: Path, **columns: Any) -> Path:
    """A copy of a build in which every row has the same value in a column."""
    shutil.copytree(build, folder)
    for shard in shard_files(folder):
        rows = pq.read_table(shard)
        for name, value in columns.items():
            at = rows.column_names.index(name)
            rows = rows.set_column(at, rows.field(at), pa.array([value] * len(rows), rows.field(at).type))
        pq.write_table(rows, shard)
    return folder


def test_choices_without_options_are_fill_ins(build, tmp_path):
    folder = changed(build, tmp_path / "bare", form="choice", answer="left", options=[])
    found = audit(folder)
    for one in found.families:
        assert one.forms == {"fill": sum(one.rows.values())}
        assert one.without_options == sum(one.rows.values())
        assert one.choice is None
        assert one.fill is None or one.fill.right == 1
    everything = sum(sum(one.rows.values()) for one in found.families)
    assert f"{everything} choices have no options and are counted as fill-ins: " in found.to_text()
    assert "no options" not in audit(build).to_text()


def test_an_answer_that_is_no_letter_is_told(build, tmp_path):
    folder = changed(build, tmp_path / "spoilt", answer="x")
    with pytest.raises(ShardError, match=r"^\w+: the answer 'x' is the letter of no option; build again$"):
        audit(folder)
