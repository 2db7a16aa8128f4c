"""From published files to a report, with a random model."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from scipy.stats import binomtest

from hatch_data.shards import PlacedMarker
from hatch_train import loop
from hatch_train.cli import main
from hatch_train.errors import EvaluationError, ModelError, Stopped
from hatch_train.evaluation import BENCHMARKS, benchmark, generation, mindcube, mmsi_bench, run
from hatch_train.evaluation.report import wilson
from hatch_train.evaluation.samples import Sample, spread
from hatch_train.recipe import Recipe
from hatch_train.stages.supervised import Supervised
from tests.train import rows
from tests.train.conftest import MakeRecipe
from tests.train.evaluation.published import WRITERS, mmsi, parquet, spar, viewspatial, vsi, vsi_in_parts
from tests.train.test_run import STAGES


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.mark.parametrize("name", WRITERS)
def test_every_benchmark_is_read_from_its_own_format(name: str, tmp_path: Path) -> None:
    write, count = WRITERS[name]
    bench, variant = benchmark(name)
    samples = bench.read(write(tmp_path / "data"), variant)
    assert len(samples) == len({sample.id for sample in samples}) == count
    for sample in samples:
        images = sample.images()
        assert 1 <= len(images) <= 8 and all(image[:4] == b"\x89PNG" for image in images)
        assert sample.prompt and sample.answer and sample.category
        assert bench.repaired(sample, sample.answer) == 1
        assert not sample.letters or len(sample.choices) in (0, len(sample.letters), 4)
    assert set(BENCHMARKS) - set(WRITERS) == {"held_out_test"}


@pytest.mark.parametrize("name", ["spar_mv", "mindcube_tiny", "mmsi", "cv_bench", "blink", "viewspatial", "vsi"])
def test_every_benchmark_is_evaluated_end_to_end(name: str, model_folder: Path, tmp_path: Path) -> None:
    data = WRITERS[name][0](tmp_path / "data")
    out = tmp_path / "out"
    limits = ("--batch", 3, "--max-new-tokens", 3, "--max-pixels", 3136, "--out", out)
    result = call("eval", model_folder, "-b", name, "-d", data, *limits)
    assert result.exit_code == 0, result.output
    assert "repaired" in result.stdout and max(map(len, result.stdout.splitlines()[1:-1])) <= 80
    report = json.loads((out / "report.json").read_text())
    assert report["samples"] == WRITERS[name][1] == len((out / "replies.jsonl").read_text().splitlines())
    assert sum(f["count"] for f in report["categories"].values()) == report["samples"] == report["cut_off"]
    for figures in report["categories"].values():
        assert figures["repaired"]["low"] <= figures["repaired"]["mean"] <= figures["repaired"]["high"]
        assert figures["constant"] == 1  # each category of these has one answer
    assert Image.open(out / "report.png").width == 880


def test_prompts_are_the_published_ones(tmp_path: Path) -> None:
    by_task = {s.category: s.prompt for s in benchmark("spar")[0].read(spar(tmp_path / "spar"), "all")}
    question = "Which one? A. left B. right C. up D. down"
    assert by_task["view_change_infer"] == f"\n{question}\n\n"
    assert by_task["depth_prediction_oc_mv"].startswith(f"\n{question}\nPlease answer the question using a single")
    assert "0-1000 scale, with the top-left corner" in by_task["position_matching"]
    assert by_task["spatial_imagination_oc"] == f"\n{question}\n\n{spar_letter_prompt()}"
    frames = benchmark("vsi")[0].read(vsi(tmp_path / "vsi"), "")
    assert frames[1].prompt.startswith("These are frames of a video.\nHow?\nOptions:\nA. left\nB. right\nAnswer with")
    view = benchmark("viewspatial")[0].read(viewspatial(tmp_path / "view"), "")[0]
    assert view.prompt.endswith("D. back\nReply only to the corresponding option.\nAnswer:")
    assert view.choices == ("left", "right", "front", "back")


def spar_letter_prompt() -> str:
    return "Answer with the option's letter from the given choices directly."


def test_options_inside_a_question() -> None:
    assert mindcube.options("To my left? A. Wooden chair B. TV C. Lamp") == ("Wooden chair", "TV", "Lamp")
    assert mindcube.options("What about plan B. exactly?") == ()
    text = "Where? \nOptions: A: North, B: South, C: East, a bit, D: West"
    assert mmsi_bench.options(text) == ("North", "South", "East, a bit", "West")


class Parrot:
    """Replies with what it is told, and remembers what it was asked."""

    def __init__(self, text: str = "<answer>B</answer>", fail_after: int = 99):
        self.text, self.fail_after, self.asked = text, fail_after, []

    def reply(self, samples: Sequence[Sample], instruction: str) -> list[generation.Reply]:
        if len(self.asked) >= self.fail_after:
            raise KeyboardInterrupt
        self.asked += [sample.id for sample in samples]
        return [generation.Reply(self.text, False) for _ in samples]


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = spar(tmp_path / "data")
    request = run.Request("somewhere", "spar", data, tmp_path / "out", batch=2, backend="vllm")
    first, second = Parrot(fail_after=4), Parrot()
    monkeypatch.setattr(run, "_answerer", lambda *_: first)
    with pytest.raises(Stopped, match=r"4 replies are in .*out; run the same command to go on"):
        run.evaluate(request)
    with (tmp_path / "out" / "replies.jsonl").open("a") as file:
        file.write('{"key": "half a li')  # killed while writing
    monkeypatch.setattr(run, "_answerer", lambda *_: second)
    report = run.evaluate(request)
    assert len(first.asked) == 4 and len(second.asked) == 8 and not set(first.asked) & set(second.asked)
    assert report["samples"] == len((tmp_path / "out" / "replies.jsonl").read_text().splitlines()) == 12
    assert report["categories"]["position_matching"]["repaired"]["mean"] == 1
    assert report["overall"]["count"] == 12 and report["overall"]["repaired"]["mean"] == 0.5
    assert report["overall"]["repaired"]["low"] == pytest.approx(wilson(0.5, 12)[0])
    monkeypatch.setattr(run, "_answerer", lambda *_: pytest.fail("nothing is left to ask"))
    assert run.evaluate(request)["scores"] == report["scores"]
    with pytest.raises(EvaluationError, match=r"replies with prompt 'plain', not 'action'; use another --out"):
        run.evaluate(run.Request("somewhere", "spar", data, tmp_path / "out", prompt="action", backend="vllm"))


def test_batches_do_not_change_the_replies(model_folder: Path, tmp_path: Path) -> None:
    samples = benchmark("blink")[0].read(WRITERS["blink"][0](tmp_path), "")
    answerer = generation.Transformers(generation.open_model(str(model_folder), 3136), 6)
    together = answerer.reply(samples, "")
    assert [answerer.reply([one], "")[0] for one in samples] == together
    assert {reply.cut_off for reply in together} == {True}


def test_the_action_prompt_asks_as_training_does(make_recipe: MakeRecipe, model_folder: Path) -> None:
    row = rows.row(3)
    stage_recipe: Recipe = make_recipe({"supervised": {"steps": 1, "learning_rate": 1}})
    model = generation.open_model(str(model_folder))
    stage = Supervised("supervised", stage_recipe.stages["supervised"], stage_recipe, model.processor)
    record = vars(row) | {"actions": [vars(a) for a in row.actions]}
    one = Sample(row.id, "", row.messages[0]["content"], row.answer, lambda: list(row.images))
    chat = [{"role": "user", "content": generation.parts(one, 2, generation.ACTION_INSTRUCTION)}]
    template = model.processor.tokenizer.apply_chat_template
    assert template(chat, tokenize=False, add_generation_prompt=True) == stage.chat(record).prompt


def test_a_run_checkpoint_is_evaluated_as_its_export(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    # With something learnt beside the model, of which neither has anything.
    recipe = make_recipe({"alignment": {**STAGES["alignment"], "steps": 1, "unmatched": True}})
    loop.run(recipe)
    checkpoint = next((Path(recipe.output) / "checkpoints").glob("[0-9]*"))
    ours, exported = (generation.open_model(str(p)) for p in (checkpoint, Path(recipe.output) / "model"))
    assert ours.processor.pixel_bounds == exported.processor.pixel_bounds == (3136, 10_000)
    for mine, theirs in zip(ours.model.parameters(), exported.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def _damage(folder: Path, what: str) -> None:
    if what == "column":
        table = pq.read_table(folder / "MMSI_Bench.parquet")
        pq.write_table(table.drop_columns(["answer"]), folder / "MMSI_Bench.parquet")
    elif what == "file":
        (folder / "MMSI_Bench.parquet").write_bytes(b"PAR1 and no more")
    elif what == "none":
        (folder / "MMSI_Bench.parquet").unlink()
    elif what == "images":
        found = pq.read_table(folder / "MMSI_Bench.parquet").to_pylist()
        parquet(folder / "MMSI_Bench.parquet", [{**row, "images": [b""]} for row in found])
    elif what == "picture":
        found = pq.read_table(folder / "MMSI_Bench.parquet").to_pylist()
        parquet(folder / "MMSI_Bench.parquet", [{**row, "images": [row["images"][0][:99]]} for row in found])


@pytest.mark.parametrize(
    "what, told",
    [
        ("column", r"MMSI_Bench.parquet: no column 'answer' among id, images"),
        ("file", r"MMSI_Bench.parquet: not a readable Parquet file .*download it again"),
        ("none", r"data: no \*.parquet here; give --data the downloaded files of MMSI-Bench"),
        ("images", r"MMSI_Bench.parquet: row 0 of row group 0 has no images; download the file again"),
        ("picture", r"sample 0: an image cannot be used .*download the data again"),
    ],
)
def test_bad_input_is_one_line(what: str, told: str, model_folder: Path, tmp_path: Path) -> None:
    folder = mmsi(tmp_path / "data")
    _damage(folder, what)
    result = call("eval", model_folder, "-b", "mmsi", "-d", folder, "--out", tmp_path / "out", "--max-new-tokens", 1)
    assert result.exit_code == 2
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: ") and re.search(told, last), last


def test_missing_images_are_told_before_anything_is_asked(tmp_path: Path) -> None:
    folder = viewspatial(tmp_path / "view")
    (folder / "val2017.zip").unlink()
    with pytest.raises(
        EvaluationError, match=r"ViewSpatial-Bench.json: its image .*val2017/scene/0.png is missing; unp"
    ):
        benchmark("viewspatial")[0].read(folder, "")
    folder = vsi(tmp_path / "vsi")
    (folder / "scannet" / "two.mp4").unlink()
    with pytest.raises(EvaluationError, match=r"its scene scannet/two is missing; unpack two.mp4 or frames beside"):
        benchmark("vsi")[0].read(folder, "")


def test_vsi_in_two_parts_is_read_whole_or_debiased(tmp_path: Path) -> None:
    folder = vsi_in_parts(tmp_path / "vsi")
    read = benchmark("vsi")[0].read
    assert [one.id for one in read(folder, "")] == ["2", "0", "1"]
    assert [one.id for one in read(folder, "debiased")] == ["2"]
    assert [one.id for one in read(folder / "test_debiased.parquet", "debiased")] == ["2"]
    with pytest.raises(EvaluationError, match=r"some of VSI-Bench only, without test_pruned.parquet; .* vsi_debiased"):
        read(folder / "test_debiased.parquet", "")
    with pytest.raises(EvaluationError, match=r"no test_debiased.parquet here; download it"):
        read(vsi(tmp_path / "old"), "debiased")


def test_a_download_still_packed_is_told(tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(b"")
    with pytest.raises(EvaluationError, match=r"no MindCube_tinybench.jsonl here, but data.zip; unpack it"):
        benchmark("mindcube_tiny")[0].read(tmp_path, "tiny")


def test_wrong_use_is_told(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no benchmark is called 'spark'; known: spar, "):
        benchmark("spark")
    with pytest.raises(EvaluationError, match=r"51 rows of depth_prediction_oc_mv, Tiny has 50; give SPAR-Bench-Tiny"):
        benchmark("spar_tiny")[0].read(spar(tmp_path / "spar", repeat=51), "tiny")
    with pytest.raises(EvaluationError, match=r"nowhere: no such file or folder"):
        benchmark("mmsi")[0].read(tmp_path / "nowhere", "")
    with pytest.raises(EvaluationError, match=r"no rows of split test; build"):
        benchmark("held_out_test")[0].read(rows.build(tmp_path / "shards", train=1, validation=1), "test")
    with pytest.raises(ModelError, match=r"neither a Hugging Face folder \(config.json\) nor a checkpoint of a run"):
        generation.open_model(str(tmp_path))
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="vllm is not installed"):
            generation.Vllm("x", None, 1)
    with pytest.raises(EvaluationError, match=r"sample 1: 1 image marks, 2 images"):
        generation.parts(Sample("1", "", "<image> what?", "A", list), 2, "")


def test_markers_that_are_only_stored_are_drawn(tmp_path: Path) -> None:
    box = (0.25, 0.25, 0.5, 0.5)
    stored, drawn = (PlacedMarker(1, box, "A", "#ff0000", d) for d in (False, True))
    rows.write(
        tmp_path, "test", [replace(rows.row(1), markers=[stored]), replace(rows.row(1), id="2", markers=[drawn])]
    )
    first, second = (one.images() for one in benchmark("held_out")[0].read(tmp_path, ""))
    assert first[0] == second[0] == rows.row(1).images[0] and second[1] == rows.row(1).images[1]
    with_red, without = ((np.asarray(Image.open(io.BytesIO(i[1]))) == (255, 0, 0)).all(-1) for i in (first, second))
    assert with_red.sum() > 100 > without.sum()


def test_limit_is_spread_evenly() -> None:
    assert spread(list(range(10)), 3) == [1, 5, 8]
    assert spread(list(range(3)), 9) == spread(list(range(3)), None) == [0, 1, 2]


@pytest.mark.parametrize("share, count, low, high", [(0.5, 10, 0.2366, 0.7634), (0, 10, 0, 0.2775), (1, 4, 0.5101, 1)])
def test_wilson(share: float, count: int, low: float, high: float) -> None:
    assert wilson(share, count) == pytest.approx((low, high), abs=1e-4)
    interval: Any = binomtest(round(share * count), count).proportion_ci(0.95, "wilson")
    assert wilson(share, count) == pytest.approx((interval.low, interval.high), abs=1e-9)
