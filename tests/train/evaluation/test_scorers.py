"""Native scores are the published scorers', their faults included; repaired scores do not have the faults.

Each row: reply, native score, repaired score; the rows where they differ are the traps.
"""

from __future__ import annotations

from typing import Any

import pytest

from hatch_train.evaluation import blink, cv_bench, held_out, mindcube, mmsi_bench, spar_bench, viewspatial, vsi_bench
from hatch_train.evaluation.answers import cut
from hatch_train.evaluation.generation import Reply
from hatch_train.evaluation.run import score
from hatch_train.evaluation.samples import Benchmark, Sample

ACTIONS = '<action>[{"from": 1, "to": 2, "actions": [{"turn_left_deg": 30}]}]</action>'


def sample(answer: str = "B", category: str = "", **changes: Any) -> Sample:
    defaults = {"letters": "ABCD", "choices": ("left", "right", "front", "back")}
    return Sample("1", category, "?", answer, list, **{**defaults, **changes})


def check(benchmark: Benchmark, one: Sample, reply: str, native: float, repaired: float) -> None:
    assert benchmark.native(one, reply) == pytest.approx(native), "native"
    assert benchmark.repaired(one, reply) == pytest.approx(repaired), "repaired"


@pytest.mark.parametrize(
    "answer, reply, native, repaired",
    [
        ("B", "B", 1, 1),
        ("B", "b", 1, 1),
        ("B", "B. right", 1, 1),
        ("B", "A", 0, 0),
        ("B", "", 1, 0),  # an empty reply is part of every answer
        ("A", "Answer: C", 1, 0),  # its first letter is an A
        ("A", "action: turn left; C", 1, 0),
        ("B", "(B)", 0, 1),
        ("B", "The answer is B.", 0, 1),
        ("C", "Cannot say, maybe D", 1, 0),
    ],
)
def test_spar_choices(answer: str, reply: str, native: float, repaired: float) -> None:
    check(spar_bench.BENCHMARK, sample(answer, "position_matching"), reply, native, repaired)


@pytest.mark.parametrize(
    "task, reply, native, repaired",
    [
        ("depth_prediction_oc", "2.0", 1, 1),
        ("depth_prediction_oc", "2.2 meters", 0.9, 0.9),  # within every threshold but 0.95
        ("depth_prediction_oc", "3", 0.1, 0.1),
        ("depth_prediction_oc", "In image 1 it is 2.0 m away", 0.1, 1),  # single view: the first number, 1
        ("depth_prediction_oc_mv", "2.0 m, seen in image 2 and image 7", 0, 1),  # multi-view: the last, 7
        ("depth_prediction_oc_mv", "-2.0", 1, 0),  # no sign
        ("depth_prediction_oc_mv", "none", 0, 0),
        ("depth_prediction_oc", "none", 0, 0),
    ],
)
def test_spar_numbers(task: str, reply: str, native: float, repaired: float) -> None:
    check(spar_bench.BENCHMARK, sample("2.0", task, measure="MRA", letters=""), reply, native, repaired)


@pytest.mark.parametrize(
    "reply, native, repaired",
    [
        ("move_right:1.0,rotate_left:30", 1, 1),
        ("move_left:-1.0,rotate_left:30", 1, 0.8),  # a negative distance is no motion in the format that is asked for
        ("move_right:2.0,rotate_left:30", (4 + 0.1) / 5, 0.8),  # off by 50 % of the prediction, by 100 % of the truth
        ("move_right:0.5,rotate_left:30", 0.8, (4 + 0.1) / 5),  # the other way round
        ("move_right:1.0, rotate_left:30", 0.8, 1),  # a blank before the key loses it
        ("move_right 1.0m, turn_left 30deg", 0, 1),  # our own language
        ("I cannot tell", 0, 0),
    ],
)
def test_spar_camera_motion(reply: str, native: float, repaired: float) -> None:
    one = sample("move_right:1.0,rotate_left:30", "view_change_infer", measure="MRA", letters="")
    check(spar_bench.BENCHMARK, one, reply, native, repaired)


def test_spar_averages_are_over_tasks_by_level() -> None:
    means = {"depth_prediction_oc_mv": 0.2, "view_change_infer": 0.4, "position_matching": 0.6, "spatial_x": 0.8}
    assert spar_bench.averages(means, {}) == pytest.approx({"low": 0.2, "middle": 0.5, "high": 0.8, "average": 0.5})


@pytest.mark.parametrize(
    "reply, native, repaired",
    [
        ("B. right", 1, 1),
        ("B", 1, 1),
        ("<Answer>B</Answer>", 1, 1),
        ("right", 0, 1),
        ("It is B. I can rule out C. and D. at once", 0, 0),  # the last dotted letter, and not clear either way
        (f"{ACTIONS}<answer>B</answer> From view A. to view C.", 0, 1),  # text beside the answer hijacks it
        ("Actions from B. <answer>C</answer>", 1, 0),
        ("My answer is B", 1, 1),
    ],
)
def test_mindcube(reply: str, native: float, repaired: float) -> None:
    one = sample()
    assert mindcube.BENCHMARK.native(one, reply) == native
    assert mindcube.BENCHMARK.repaired(one, cut(reply)) == repaired


@pytest.mark.parametrize(
    "answer, reply, native, repaired",
    [
        ("B", "``B``", 1, 1),
        ("B", "`B`", 1, 1),
        ("B", "{B}", 1, 1),
        ("B", "B", 1, 1),
        ("B", "South", 0, 0),
        ("B", "right", 0, 1),
        ("B", "A or C, so ``B``", 1, 1),
        ("B", 'A [{"from": 1}] B', 0, 0),  # the braces of JSON
        ("B", f"{ACTIONS} B", 0, 1),
        ("A", "Not A, but B", 1, 0),  # the first letter that no word follows
        ("B", "b", 0, 1),
    ],
)
def test_mmsi(answer: str, reply: str, native: float, repaired: float) -> None:
    check(mmsi_bench.BENCHMARK, sample(answer), reply, native, repaired)


@pytest.mark.parametrize("bench", [blink.BENCHMARK, cv_bench.BENCHMARK])
@pytest.mark.parametrize(
    "answer, reply, native, repaired",
    [
        ("B", "(B)", 1, 1),
        ("B", "B. right", 1, 1),
        ("B", "right", 0, 1),
        ("B", "Based on the images, C", 1, 0),  # the first letter of the first word
        ("D", "Definitely (A)", 1, 0),
        ("C", "The answer is C", 0, 1),
        ("B", "", 0, 0),
    ],
)
def test_blink_and_cv_bench(bench: Benchmark, answer: str, reply: str, native: float, repaired: float) -> None:
    check(bench, sample(answer), reply, native, repaired)


def test_cv_bench_average_is_of_sources_then_of_2d_and_3d() -> None:
    means = {"2D Count (ADE20K)": 0.2, "2D Relation (ADE20K)": 0.4, "2D Count (COCO)": 0.5, "3D Depth (Omni3D)": 0.8}
    counts = {"2D Count (ADE20K)": 1, "2D Relation (ADE20K)": 3, "2D Count (COCO)": 7, "3D Depth (Omni3D)": 2}
    found = cv_bench.averages(means, counts)
    assert found == pytest.approx({"2D": 0.425, "3D": 0.8, "average": 0.6125})


@pytest.mark.parametrize(
    "answer, reply, native, repaired",
    [
        ("B. right", "B. right", 1, 1),
        ("B. right", "Let me see.\nB", 1, 1),
        ("B. right", "B\nbecause of a lamp", 0, 1),  # the last line, where the article is an A
        ("A. left", "It is a bit to the right: B", 1, 0),
        ("C. front", "The chair has a front: C", 0, 1),
    ],
)
def test_viewspatial(answer: str, reply: str, native: float, repaired: float) -> None:
    check(viewspatial.BENCHMARK, sample(answer), reply, native, repaired)


@pytest.mark.parametrize(
    "measure, answer, reply, native, repaired",
    [
        ("accuracy", "B", "B. right", 1, 1),
        ("accuracy", "B", "b", 1, 1),
        ("accuracy", "B", "The answer is B", 0, 1),  # the first word
        ("accuracy", "B", "B) right", 0, 1),
        ("accuracy", "B", "B\nright", 0, 1),
        ("MRA", "4", "4", 1, 1),
        ("MRA", "4", "4 chairs", 1, 1),
        ("MRA", "4", "4m", 0, 1),  # no number
        ("MRA", "4", "About 4", 0, 1),
        ("MRA", "4", "four", 0, 1),
        ("MRA", "4", "5", 0.6, 0.6),
    ],
)
def test_vsi(measure: Any, answer: str, reply: str, native: float, repaired: float) -> None:
    check(vsi_bench.BENCHMARK, sample(answer, measure=measure), reply, native, repaired)


def test_vsi_counts_relative_direction_once() -> None:
    means = {"object_rel_direction_easy": 0.2, "object_rel_direction_hard": 0.4, "object_counting": 0.9}
    assert vsi_bench.averages(means, {}) == pytest.approx({"average": 0.6})


@pytest.mark.parametrize(
    "answer, changes, reply, native, repaired",
    [
        ("B", {}, "B", 1, 1),
        ("B", {}, "right", 0, 1),
        ("1.2 m", {"letters": "", "measure": "MRA"}, "1.2 m", 1, 1),
        ("1.2 m", {"letters": "", "measure": "MRA"}, "about 1.3 metres", 0, 0.9),
        ("move_forward 0.5m, turn_left 30deg", {"letters": ""}, "move_forward 0.5 m, turn_left 30", 0, 1),
        ("move_forward 0.5m, turn_left 30deg", {"letters": ""}, "turn_left 30deg, move_forward 0.5m", 0, 0),
        ("The box is behind it.", {"letters": ""}, "the box is  behind it", 0, 1),
    ],
)
def test_held_out(answer: str, changes: dict[str, Any], reply: str, native: float, repaired: float) -> None:
    check(held_out.BENCHMARK, sample(answer, **changes), reply, native, repaired)


@pytest.mark.parametrize("bench", [spar_bench, mindcube, mmsi_bench, blink, viewspatial, vsi_bench, held_out])
def test_actions_before_the_answer_do_no_harm_and_silence_is_wrong(bench: Any) -> None:
    one = sample(category="position_matching")
    replies = [
        Reply(f"{ACTIONS}<answer>C</answer>{ACTIONS}<answer> B </answer>", False),
        Reply("<answer></answer>", True),
    ]
    found = score(bench.BENCHMARK, [one, one], replies)
    assert [(s["native"], s["repaired"]) for s in found["scores"]] == [(1, 1), (0, 0)]
    assert (found["empty"], found["cut_off"], found["without_answer_tag"]) == (1, 1, 0)
