"""Forms and alternatives: what is asked of which group, and that text alone tells nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from hatch_data.asking import FORMS, Asker, Posed, alike, draw, pose
from hatch_data.errors import SettingsError
from hatch_data.questions import FAMILIES, LETTERS, Question, Rejection, family
from tests.questions.asked import groups, scenes


def question(answer: str, *place: float, **parts) -> Question:
    return Question("Which?", answer, f"It is {answer}.", "Say it in a word.", place=place, **parts)


def test_forms():
    rng = np.random.default_rng(0)
    asked, others = question("left"), [question("right"), question("front")]
    assert pose("task", asked, "fill", (), rng) == Posed("task", "fill", "Which?\nSay it in a word.", "left")
    told = pose("task", asked, "sentence", (), rng)
    assert (told.text, told.answer, told.options) == ("Which?\nAnswer in one sentence.", "It is left.", [])
    places = Counter()
    for _ in range(600):
        posed = pose("task", asked, "choice", others, rng)
        assert posed.options[LETTERS.index(posed.answer)] == "left"
        assert sorted(posed.options) == ["front", "left", "right"]
        assert all(f"{letter}. {o}" in posed.text.splitlines() for letter, o in zip("ABC", posed.options, strict=True))
        places[posed.answer] += 1
    assert set(places) == set("ABC")
    assert all(abs(count - 200) < 60 for count in places.values())
    boxes = question("box B", options=("box A", "box B"))
    assert pose("task", boxes, "choice", (), rng).options == ["box A", "box B"]
    assert pose("task", boxes, "choice", (), rng).answer == "B"


def test_answers_that_are_alike():
    assert alike(question("left"), question("left"))
    assert not alike(question("left"), question("right"))
    assert alike(question("1.0 m", 1.0), question("1.4 m", 1.4))
    assert not alike(question("1.0 m", 1.0, 0.0), question("1.4 m", 1.6, 0.8))


def test_every_option_is_equally_likely_right_whatever_is_common():
    """Truths and alternatives from a skewed distribution: given the options, each is right as often as the others."""
    rng = np.random.default_rng(1)
    names, shares = ["front", "left", "right", "back"], [0.55, 0.25, 0.15, 0.05]
    for choices in (2, 3):
        typical = [question(str(name), choices=choices) for name in rng.choice(names, 24, p=shares)]
        right, stood = Counter(), Counter()
        for _ in range(12000):
            truth, *pool = (question(str(name), choices=choices) for name in rng.choice(names, 13, p=shares))
            drawn = draw(truth, typical, iter(pool), rng)
            if isinstance(drawn, Rejection):
                assert drawn.reason in ("alternatives_alike", "too_few_alternatives")
                continue
            options = frozenset([truth.answer, *(other.answer for other in drawn)])
            right[options, truth.answer] += 1
            stood[options] += 1
        for (options, _), count in right.items():
            expected = stood[options] / len(options)
            assert abs(count - expected) < 4 * np.sqrt(expected) + 1


def test_numbers_stand_at_any_rank():
    rng = np.random.default_rng(2)
    ranks = Counter()
    for _ in range(6000):
        truth, *pool = (question(f"{value:.2f} m", value / 0.3) for value in rng.gamma(3, 1, 25))
        drawn = draw(truth, pool, iter(pool), rng)
        if not isinstance(drawn, Rejection) and len(drawn) == 3:
            ranks[sum(other.place < truth.place for other in drawn)] += 1
    total = ranks.total()
    assert total > 1000
    assert all(abs(ranks[rank] - total / 4) < 4 * np.sqrt(total / 4) for rank in range(4))


def test_nothing_to_draw_from():
    rng = np.random.default_rng(0)
    left, right = question("left"), question("right")
    assert draw(left, [], iter([right] * 9), rng) == Rejection("too_few_alternatives")
    assert draw(left, [right] * 9, iter([]), rng) == Rejection("too_few_alternatives")
    assert draw(left, [left] * 9, iter([left] * 9), rng) == Rejection("alternatives_alike")


def guesses(posed: list[Posed], split: int) -> tuple[float, float]:
    """Of the choices after the first `split`: the share in which the option that was least often wrong in the first
    ones is right, and what chance gives. So wrong options that are drawn from a few truths give themselves away."""
    wrong = Counter(o for one in posed[:split] for o in one.options if o != one.options[LETTERS.index(one.answer)])
    right, chance = 0.0, 0.0
    for one in posed[split:]:
        least = min(wrong[o] for o in one.options)
        best = [o for o in one.options if wrong[o] == least]
        right += (one.options[LETTERS.index(one.answer)] in best) / len(best)
        chance += 1 / len(one.options)
    return right / len(posed[split:]), chance / len(posed[split:])


@pytest.mark.parametrize("name", ["camera_motion", "point_depth"])
def test_options_that_are_seldom_wrong_are_not_right_the_more(name):
    _, scene = scenes()[1]
    rng = np.random.default_rng(4)
    near = [(i, j) for i in range(30) for j in range(30) if 0 < abs(i - j) <= 5]
    mine = [near[k] for k in rng.permutation(len(near))]
    asker = Asker(scene, mine, {name: 1.0}, {"choice": 1.0}, [7], Counter(), Counter())
    posed = [one for one in map(asker.ask, mine) if one]
    right, chance = guesses(posed, len(posed) // 2)
    assert len(posed) > 120
    assert right < chance + 3 * np.sqrt(chance * (1 - chance) / (len(posed) / 2))


def test_wrong_options_are_true_of_the_same_split():
    _, scene = scenes()[1]
    part = [k // 15 for k in range(30)]
    mine = [(i, j) for i in range(30) for j in range(30) if 0 < abs(i - j) <= 5 and part[i] == part[j]]
    asker = Asker(scene, mine, {"point_depth": 1.0}, {"choice": 1.0}, [7], Counter(), Counter(), part)
    posed = [(part[views[0]], one) for views in mine if (one := asker.ask(views))]
    true = [
        {t.answer for (_, views), t in asker._truths.items() if isinstance(t, Question) and part[views[0]] == p}
        for p in (0, 1)
    ]
    assert {p for p, _ in posed} == {0, 1}
    for p, one in posed:
        right = one.options[LETTERS.index(one.answer)]
        assert set(one.options) - {right} <= true[p]


def small_asker(**families: float) -> tuple[Asker, list[tuple[int, ...]]]:
    exact, scene = scenes()[0]
    mine = [group.indices for _, (_, group) in zip(range(120), groups(2, 2, 3), strict=False)]
    forms = {"choice": 2.0, "fill": 1.0, "sentence": 1.0}
    return Asker(
        scene,
        mine,
        families or {"camera_motion": 1.0, "patch_match": 2.0},
        forms,
        [0, exact.index],
        Counter(),
        Counter(),
    ), mine


def test_families_and_forms_are_kept_in_balance():
    asker, mine = small_asker(camera_motion=1.0, patch_match=2.0)
    posed = [one for one in map(asker.ask, mine) if one]
    assert len(posed) > 100
    tasks, forms = Counter(one.task for one in posed), Counter((one.task, one.form) for one in posed)
    assert abs(tasks["patch_match"] - 2 * tasks["camera_motion"]) <= 4
    for task in tasks:
        assert abs(forms[task, "choice"] - 2 * forms[task, "fill"]) <= 3
        assert abs(forms[task, "fill"] - forms[task, "sentence"]) <= 2
    assert asker.asked == tasks


def test_what_is_asked_depends_on_the_seed_alone():
    one, mine = small_asker()
    two, _ = small_asker()
    assert [one.ask(views) for views in mine[:20]] == [two.ask(views) for views in mine[:20]]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_says_how_many_views_it_takes(name):
    least, most = family(name).VIEWS
    assert 2 <= least <= most <= 8


def test_an_unknown_family_names_the_nearest():
    with pytest.raises(SettingsError, match=r"unknown family 'patch_mtch'; did you mean 'patch_match'\?"):
        family("patch_mtch")
    with pytest.raises(SettingsError, match=r"families: .*camera_motion, .*camera_position"):
        family("xyzzy")


def test_forms_are_those_that_a_recipe_may_weigh():
    assert FORMS == ("choice", "fill", "sentence")
    assert replace(question("left"), choices=2).choices == 2
