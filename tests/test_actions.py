"""The action language: bounds, algebra, signs, forms, and what a model may write."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from hatch_data.action_tokens import TOKENS, parse_tokens, to_tokens
from hatch_data.actions import (
    VERBS,
    VOCABULARIES,
    ActionLanguage,
    ActionStep,
    bound,
    chain_bound,
    encode,
    error,
    execute,
    format_pairs,
    parse_json,
    parse_lenient,
    parse_pairs,
    parse_text,
    to_json,
    to_text,
    within_bound,
)
from hatch_data.errors import ActionError, SettingsError
from hatch_data.geometry import Camera, heading_pitch_roll, inverse, transform
from hatch_data.motion import Motion, apply, compose, invert, motion_between, wrap_degrees
from hatch_data.settings import validate
from hatch_data.verify.rows import walk
from tests.test_geometry import random_pose, random_up, seeds

FULL, HATCH = ActionLanguage(), ActionLanguage(vocabulary="hatch")
LANGUAGES = [
    FULL,
    HATCH,
    ActionLanguage(rotation_step_deg=7.5, translation_step_m=0.05),
    ActionLanguage(vocabulary="hatch", rotation_step_deg=15, translation_step_m=0.25),
    ActionLanguage(vocabulary="hatch", rotation_step_deg=0.1, translation_step_m=0.001),
    ActionLanguage(vocabulary="hatch", rotation_step_deg=180, translation_step_m=3),
]
each_language = pytest.mark.parametrize(
    "language",
    LANGUAGES,
    ids=lambda x: f"{x.vocabulary}-{x.rotation_step_deg:g}deg-{x.translation_step_m:g}m",
)
each_vocabulary = pytest.mark.parametrize("language", [FULL, HATCH], ids=["full", "hatch"])

#: A level camera made by hand in a world with x forward, y left, z up.
UP, LEFT, FORWARD = np.array([0.0, 0, 1]), np.array([0.0, 1, 0]), np.array([1.0, 0, 0])
LEVEL = np.eye(4)
LEVEL[:3, :3] = np.stack([-LEFT, -UP, FORWARD], axis=1)

metres = st.floats(-20, 20)
turns = st.floats(-180, 180)
motions = st.builds(Motion, metres, metres, metres, turns.map(wrap_degrees), turns, turns.map(wrap_degrees))
action_lists = st.lists(
    st.sampled_from(sorted(VERBS)).flatmap(
        lambda verb: st.builds(
            ActionStep,
            st.just(verb),
            st.floats(0, 1e4 if verb.startswith("move") else 180, exclude_min=True),
        )
    )
).map(tuple)


def random_motions(count: int, seed: int = 0) -> list[Motion]:
    """Up to 20 m in any direction, any turn, pitch differences of real pitches; near and far equally often."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    translation = direction * (20 * rng.uniform(0, 1, (count, 1)) ** rng.choice([1, 4], (count, 1)))
    pitch = rng.uniform(-90, 90, count) - rng.uniform(-90, 90, count)
    angles = np.stack([rng.uniform(-180, 180, count), pitch, rng.uniform(-180, 180, count)], axis=1)
    return [Motion(*map(float, row)) for row in np.hstack([translation, angles])]


def assert_same_motion(a: Motion, b: Motion, tolerance: float = 1e-7) -> None:
    deviation = error(a, b, FULL)
    assert max(vars(deviation).values()) < tolerance, (a, b)


# Encoding: bounds and idempotence


@each_vocabulary
def test_100000_random_motions_end_within_the_bounds_and_say_the_same_again(language):
    """The contract's bounds, computed here from the numbers of the contract and not by `bound`."""
    motions = random_motions(100_000)
    said = [encode(motion, language) for motion in motions]
    ends = [execute(actions) for actions in said]
    assert [encode(end, language) for end in ends] == said

    truth = np.array([list(vars(motion).values()) for motion in motions])
    end = np.array([list(vars(motion).values()) for motion in ends])
    off = end - truth
    angle = np.abs((off[:, 3:] + 180) % 360 - 180)
    tiny = 1e-9
    assert np.abs(off[:, 2]).max() <= 0.05 + tiny
    assert angle[:, :2].max() <= 2.5 + tiny
    if language.vocabulary == "full":
        assert np.abs(off[:, :2]).max() <= 0.05 + tiny
        assert angle[:, 2].max() <= 2.5 + tiny
        return
    walked = np.linalg.norm(end[:, :2], axis=1)
    distance = np.linalg.norm(truth[:, :2], axis=1)
    unmoved = walked == 0
    assert distance[unmoved].max() <= 0.05 / math.cos(math.radians(2.5))
    direction = end[~unmoved, :2] / walked[~unmoved, None]
    left = direction[:, ::-1] * (-1, 1)
    assert np.abs((off[~unmoved, :2] * direction).sum(axis=1)).max() <= 0.05 + tiny
    across = np.abs((off[~unmoved, :2] * left).sum(axis=1))
    assert (across <= distance[~unmoved] * math.sin(math.radians(2.5)) + tiny).all()


@each_language
@given(motion=motions)
def test_any_step_size_keeps_its_bounds_and_says_the_same_again(language, motion):
    actions = encode(motion, language)
    end = execute(actions)
    assert within_bound(motion, end, language), error(motion, end, language)
    assert encode(end, language) == actions
    assert {step.verb for step in actions} <= set(VOCABULARIES[language.vocabulary])
    assert parse_text(to_text(actions), language.vocabulary) == actions
    assert parse_json(to_json(actions), language.vocabulary) == actions


def test_the_bound_is_as_the_contract_says():
    motion = Motion(6.0, 8.0, 1.0, 40.0, 0.0, 10.0)
    assert tuple(vars(bound(motion, FULL)).values()) == (0.05, 0.05, 0.05, 2.5, 2.5, 2.5)
    limits = bound(motion, HATCH)
    assert limits.across_m == pytest.approx(10 * math.sin(math.radians(2.5)) + 0.05)
    assert (limits.along_m, limits.up_m, limits.yaw_deg, limits.pitch_deg) == (0.05, 0.05, 2.5, 2.5)
    assert limits.roll_deg == math.inf


@each_vocabulary
@pytest.mark.parametrize(
    "wrong",
    [
        Motion(2.1, 0, 0, 30, 0, 0),
        Motion(2, 0.5, 0, 30, 0, 0),
        Motion(2, 0, 0.06, 30, 0, 0),
        Motion(2, 0, 0, 33, 0, 0),
        Motion(2, 0, 0, 30, -3, 0),
        Motion(-2, 0, 0, 30, 0, 0),
    ],
)
def test_a_wrong_end_is_out_of_bounds(language, wrong):
    assert not within_bound(Motion(2, 0, 0, 30, 0, 0), wrong, language)


@each_vocabulary
def test_chains_end_within_the_chain_bound(language):
    firsts, seconds = random_motions(5_000, 1), random_motions(5_000, 2)
    for first, second in zip(firsts, seconds, strict=True):
        walked = compose(execute(encode(first, language)), execute(encode(second, language)))
        deviation, limit = (
            error(compose(first, second), walked, language),
            chain_bound([first, second], language),
        )
        assert deviation.within(limit)
        assert deviation.horizontal_m <= limit.along_m + 1e-9


@each_vocabulary
def test_long_chains_end_within_the_chain_bound(language):
    for seed in range(300):
        motions = random_motions(5, seed)
        end, walked = Motion(), Motion()
        for motion in motions:
            end, walked = compose(end, motion), compose(walked, execute(encode(motion, language)))
        assert error(end, walked, FULL).within(chain_bound(motions, language))


@pytest.mark.parametrize(
    ("motion", "full", "hatch"),
    [
        (Motion(), "stay", "stay"),
        (Motion(0.05, 0, -0.05, 2.5, -2.5, 2.5), "stay", "stay"),
        (Motion(forward_m=1.2), "move_forward 1.2m", "move_forward 1.2m"),
        (
            Motion(1.2, 0, 0, 30, 10, 0),
            "move_forward 1.2m, turn_left 30deg, turn_up 10deg",
            "move_forward 1.2m, turn_left 30deg, turn_up 10deg",
        ),
        (
            Motion(0, -0.7, 0.3, 0, -15, 20),
            "move_right 0.7m, move_up 0.3m, turn_down 15deg, roll_left 20deg",
            "turn_right 90deg, move_forward 0.7m, move_up 0.3m, turn_left 90deg, turn_down 15deg",
        ),
        (
            Motion(-2, 0, 0, 0, 0, 0),
            "move_backward 2m",
            "turn_left 180deg, move_forward 2m, turn_left 180deg",
        ),
        (Motion(yaw_deg=180), "turn_left 180deg", "turn_left 180deg"),
        (Motion(yaw_deg=-180), "turn_left 180deg", "turn_left 180deg"),
        (Motion(yaw_deg=-178), "turn_left 180deg", "turn_left 180deg"),
        (Motion(yaw_deg=-177), "turn_right 175deg", "turn_right 175deg"),
        (Motion(roll_deg=-180), "roll_left 180deg", "stay"),
        (Motion(0, 0.04, 0, -20, 0, 0), "turn_right 20deg", "turn_right 20deg"),
    ],
)
def test_what_is_said(motion, full, hatch):
    assert to_text(encode(motion, FULL)) == full
    assert to_text(encode(motion, HATCH)) == hatch


def test_hatch_walks_the_distance_along_the_rounded_bearing():
    """At 2.4 degrees off and 60 m the true distance would overshoot by half a step; the loop is closed."""
    motion = Motion(60 * math.cos(math.radians(2.4)), 60 * math.sin(math.radians(2.4)))
    assert to_text(encode(motion, HATCH)) == "move_forward 59.9m"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@each_vocabulary
def test_a_motion_that_is_not_finite_is_refused(value, language):
    with pytest.raises(ActionError, match="finite"):
        encode(Motion(left_m=value), language)


# Settings


@pytest.mark.parametrize(
    "settings",
    [
        {"rotation_step_deg": 7},
        {"rotation_step_deg": 0},
        {"rotation_step_deg": -5},
        {"rotation_step_deg": 360},
        {"rotation_step_deg": math.nan},
        {"translation_step_m": 0},
        {"translation_step_m": -0.1},
        {"translation_step_m": math.inf},
        {"translation_step_m": 1 / 3},
    ],
)
def test_an_impossible_step_is_an_error_that_names_it(settings):
    with pytest.raises(SettingsError, match=next(iter(settings))):
        ActionLanguage(**settings)


def test_a_recipe_with_an_unknown_vocabulary_or_key_is_an_error():
    with pytest.raises(SettingsError, match="vocabulary"):
        validate(ActionLanguage, {"vocabulary": "half"}, "recipe.yaml")
    with pytest.raises(SettingsError, match="did you mean 'rotation_step_deg'"):
        validate(ActionLanguage, {"rotation_step": 5}, "recipe.yaml")


# Motions: algebra, and against real poses


@given(motions, motions, motions)
def test_motions_compose_like_a_group(a, b, c):
    assert_same_motion(compose(compose(a, b), c), compose(a, compose(b, c)))
    assert_same_motion(compose(a, invert(a)), Motion())
    assert_same_motion(compose(invert(a), a), Motion())
    assert_same_motion(compose(a, Motion()), a)
    assert_same_motion(compose(Motion(), a), a)
    assert_same_motion(invert(compose(a, b)), compose(invert(b), invert(a)))


@given(seeds)
def test_motions_between_real_poses(seed):
    rng = np.random.default_rng(seed)
    up, i, j, k = random_up(rng), random_pose(rng), random_pose(rng), random_pose(rng)
    i_to_j, j_to_k = motion_between(i, j, up), motion_between(j, k, up)
    np.testing.assert_allclose(apply(i, i_to_j, up), j, atol=1e-8)
    assert_same_motion(compose(i_to_j, j_to_k), motion_between(i, k, up))
    assert_same_motion(invert(i_to_j), motion_between(j, i, up))
    np.testing.assert_allclose(apply(i, compose(i_to_j, j_to_k), up), k, atol=1e-8)


@given(seeds, motions)
def test_a_motion_reads_back_from_the_pose_that_it_ends_in(seed, motion):
    rng = np.random.default_rng(seed)
    up, i = random_up(rng), random_pose(rng)
    pitch = heading_pitch_roll(i, up)[1] + motion.pitch_deg
    assume(abs(pitch) < 89.9)
    assert_same_motion(motion_between(i, apply(i, motion, up), up), motion, 1e-6)


@each_vocabulary
@given(seed=seeds)
def test_actions_done_in_the_world_one_by_one_end_where_apply_says(language, seed):
    rng = np.random.default_rng(seed)
    up, i, j = random_up(rng), random_pose(rng), random_pose(rng)
    actions = encode(motion_between(i, j, up), language)
    pitch = heading_pitch_roll(i, up)[1] + execute(actions).pitch_deg
    assume(abs(pitch) < 90)  # on the far side of the vertical the walker would see the world upside down
    end = walk(i, actions, up)
    np.testing.assert_allclose(apply(i, execute(actions), up), end, atol=1e-7)
    assert abs((end - j)[:3, 3] @ up) <= 0.05 + 1e-9
    if language.vocabulary == "full":
        assert np.linalg.norm((end - j)[:3, 3]) <= 0.05 * math.sqrt(3) + 1e-9
        turned = np.degrees(np.arccos(np.clip((np.trace(end[:3, :3].T @ j[:3, :3]) - 1) / 2, -1, 1)))
        assert turned <= 7.5 + 1e-6


def test_a_turn_beyond_the_vertical_stops_there():
    end = apply(LEVEL, Motion(pitch_deg=200), UP)
    assert heading_pitch_roll(end, UP)[1] == pytest.approx(90)
    np.testing.assert_allclose(end, apply(LEVEL, Motion(pitch_deg=90), UP))


@pytest.mark.parametrize("start", [90.0, -90.0], ids=["straight up", "straight down"])
@each_vocabulary
@given(seed=seeds)
def test_from_and_to_the_vertical(language, start, seed):
    """No heading of its own: the image's edge gives one, roll is 0, and the pose is reached all the same."""
    rng = np.random.default_rng(seed)
    up, other = random_up(rng), random_pose(rng)
    vertical = apply(np.eye(4), Motion(*rng.uniform(-5, 5, 3), rng.uniform(-180, 180)), up)
    pitch, roll = heading_pitch_roll(vertical, up)[1:]
    vertical = apply(vertical, Motion(pitch_deg=start - pitch, roll_deg=-roll), up)
    assert heading_pitch_roll(vertical, up)[1:] == (start, 0.0)
    for i, j in ((vertical, other), (other, vertical), (vertical, vertical)):
        motion = motion_between(i, j, up)
        np.testing.assert_allclose(apply(i, motion, up), j, atol=1e-5)
        assert within_bound(motion, execute(encode(motion, language)), language)
    assert to_text(encode(motion_between(vertical, vertical, up), language)) == "stay"


def test_looking_straight_down_forward_is_the_top_of_the_image():
    down = apply(LEVEL, Motion(pitch_deg=-90), UP)
    np.testing.assert_allclose(-down[:3, 1], FORWARD, atol=1e-12)
    there = down.copy()
    there[:3, 3] += FORWARD
    assert to_text(encode(motion_between(down, there, UP), FULL)) == "move_forward 1m"
    turned = apply(down, Motion(yaw_deg=90), UP)
    np.testing.assert_allclose(-turned[:3, 1], LEFT, atol=1e-12)
    np.testing.assert_allclose(turned[:3, 2], -UP, atol=1e-12)


# Signs, by poses made by hand

CAMERA = Camera(640, 480, 500, 500, 319.5, 239.5)


def seen(pose: np.ndarray, point) -> np.ndarray:
    """Pixel of a point in the world, relative to the principal point, in front of the camera."""
    pixel, depth = CAMERA.project(transform(inverse(pose), np.array(point, dtype=float)))
    assert depth > 0
    return pixel - (319.5, 239.5)


def after(text: str, start: np.ndarray = LEVEL) -> np.ndarray:
    return apply(start, execute(parse_text(text)), UP)


def test_turning_left_brings_what_stands_on_the_left_to_the_middle():
    on_the_left = (math.cos(math.radians(40)), math.sin(math.radians(40)), 0)
    assert seen(LEVEL, on_the_left)[0] < -320
    np.testing.assert_allclose(seen(after("turn_left 40deg"), on_the_left), 0, atol=1e-9)
    assert seen(after("turn_right 10deg"), on_the_left)[0] < seen(LEVEL, on_the_left)[0]


def test_turning_up_brings_what_hangs_above_to_the_middle():
    above = (math.cos(math.radians(20)), 0, math.sin(math.radians(20)))
    assert seen(LEVEL, above)[1] < 0
    np.testing.assert_allclose(seen(after("turn_up 20deg"), above), 0, atol=1e-9)
    np.testing.assert_allclose(seen(after("turn_down 20deg"), (above[0], 0, -above[2])), 0, atol=1e-9)


def test_rolling_left_turns_the_image_clockwise():
    above = (5, 0, 1)
    u, v = seen(LEVEL, above)
    assert u == pytest.approx(0) and v < 0
    u, v = seen(after("roll_left 30deg"), above)
    assert u > 0 and v < 0  # from 12 o'clock towards 3 o'clock
    assert seen(after("roll_right 30deg"), above)[0] < 0
    np.testing.assert_allclose(seen(after("roll_left 90deg"), above), (100, 0), atol=1e-9)


def test_moves_are_horizontal_and_vertical_even_when_the_camera_is_pitched_and_rolled():
    tilted = after("turn_left 90deg, turn_down 60deg, roll_left 25deg")
    for verb, direction in {
        "move_forward": LEFT,
        "move_backward": -LEFT,
        "move_left": -FORWARD,
        "move_right": FORWARD,
        "move_up": UP,
        "move_down": -UP,
    }.items():
        end = after(f"{verb} 2m", tilted)
        np.testing.assert_allclose(end[:3, 3], 2 * direction, atol=1e-12)
        np.testing.assert_allclose(end[:3, :3], tilted[:3, :3], atol=1e-12)


def test_actions_are_done_in_order():
    np.testing.assert_allclose(after("turn_left 90deg, move_forward 1m")[:3, 3], LEFT, atol=1e-12)
    np.testing.assert_allclose(after("move_forward 1m, turn_left 90deg")[:3, 3], FORWARD, atol=1e-12)


def test_a_rolled_pair_of_cameras_keeps_its_roll_in_full_and_loses_it_in_hatch():
    start = after("roll_right 40deg")
    motion = motion_between(start, after("roll_left 20deg, turn_left 30deg"), UP)
    assert to_text(encode(motion, FULL)) == "turn_left 30deg, roll_left 60deg"
    assert to_text(encode(motion, HATCH)) == "turn_left 30deg"


# Forms


def test_text_and_json_as_the_contract_prints_them():
    actions = (ActionStep("move_forward", 1.2), ActionStep("turn_left", 30.0), ActionStep("turn_up", 10.0))
    assert to_text(actions) == "move_forward 1.2m, turn_left 30deg, turn_up 10deg"
    assert to_json(actions) == '[{"move_forward_m": 1.2}, {"turn_left_deg": 30}, {"turn_up_deg": 10}]'
    assert (to_text(()), to_json(())) == ("stay", "[]")
    assert format_pairs([(0, 1, actions[:1]), (0, 2, ()), (1, 2, actions[1:2])]) == (
        '[{"from": 1, "to": 2, "actions": [{"move_forward_m": 1.2}]}, {"from": 1, "to": 3, "actions": []}, '
        '{"from": 2, "to": 3, "actions": [{"turn_left_deg": 30}]}]'
    )


def test_numbers_carry_no_float_noise():
    for steps in range(1, 2000):
        text = to_text(encode(Motion(forward_m=0.1 * steps), FULL))
        assert text == f"move_forward {steps // 10}{f'.{steps % 10}' if steps % 10 else ''}m"


@given(action_lists)
def test_every_form_parses_back_to_itself(actions):
    assert parse_text(to_text(actions)) == actions
    assert parse_json(to_json(actions)) == actions
    assert parse_tokens(to_tokens(actions)) == actions
    pairs = [(0, 1, actions), (0, 2, ()), (1, 2, actions[::-1])]
    assert parse_pairs(format_pairs(pairs)) == pairs
    assert parse_lenient(to_text(actions)) == actions
    assert parse_lenient(to_json(actions)) == actions
    assert parse_pairs(f"<action>{format_pairs(pairs)}</action>", strict=False) == pairs


def test_tokens_as_they_are_printed():
    actions = parse_text("move_forward 1.2m, turn_left 30deg")
    assert to_tokens(actions) == "<|move_forward|><|1|><|.|><|2|><|turn_left|><|3|><|0|>"
    assert to_tokens(()) == "<|stay|>"
    assert parse_tokens(" <|turn_left|> <|3|>\n<|0|> ") == (ActionStep("turn_left", 30.0),)
    assert len(set(TOKENS)) == len(VERBS) + 12


@given(action_lists)
def test_tokens_are_all_that_is_written(actions):
    text = to_tokens(actions)
    for token in sorted(TOKENS, key=len, reverse=True):
        text = text.replace(token, "")
    assert text == ""


def test_a_tokenizer_keeps_every_token_whole():
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.add_special_tokens(list(TOKENS))
    actions = encode(Motion(1.23, -4.5, 0.6, 170, -30, 20), FULL)
    ids = tokenizer.encode(to_tokens(actions)).ids
    assert 0 not in ids
    written = tokenizer.decode(ids, skip_special_tokens=False)
    assert parse_tokens(written) == actions


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "nothing stands there"),
        ("<|3|>", "must not stand here"),
        ("<|stay|><|stay|>", "must not stand here"),
        ("<|turn_left|><|3|><|stay|>", "must not stand here"),
        ("<|turn_left|>", "digits of a number"),
        ("<|turn_left|><|3|><|.|>", "digits of a number"),
        ("<|turn_left|><|0|>", "positive"),
        ("<|turn_left|><|1|><|8|><|1|>", "at most 180"),
        ("<|turn_left|>30", "'30' is no token"),
        ("<|jump|><|1|>", "is no token"),
    ],
)
def test_strict_tokens_name_what_is_wrong(text, names):
    with pytest.raises(ActionError, match=names):
        parse_tokens(text)


def test_tokens_hold_to_the_vocabulary():
    with pytest.raises(ActionError, match="no verb of 'hatch'"):
        parse_tokens("<|roll_left|><|5|>", "hatch")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "action 1"),
        ("turn_left 30deg,", "action 2"),
        ("turn_left 30deg, stay", "action 2 .*'stay'"),
        ("move_forward 1m, turn_lft 30deg", "action 2 .*'turn_lft'.*nearest is 'turn_left'"),
        ("turn_left 30", "action 1 .*'turn_left 30'"),
        ("turn_left 30 deg", "action 1"),
        ("turn_left 30m", "measured in deg"),
        ("turn_left -30deg", "action 1"),
        ("turn_left 0deg", "positive"),
        ("turn_left 190deg", "at most 180"),
        ("Turn_Left 30deg", "nearest is 'turn_left'"),
        ("move_forward 1e3m", "action 1"),
        ("move_forward " + "9" * 400 + "m", "finite"),
        ("move_forward ٣m", "action 1"),
    ],
)
def test_strict_text_names_what_is_wrong(text, names):
    with pytest.raises(ActionError, match=names) as caught:
        parse_text(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("stay", "not JSON"),
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"turn_left_deg": 30}', "must be a JSON list"),
        ('[{"turn_left_deg": 30}, "x"]', "action 2"),
        ('[{"turn_left_deg": 30, "move_up_m": 1}]', "one key"),
        ("[{}]", "one key"),
        ('[{"turn_left_deg": 30, "turn_left_deg": 40}]', "twice"),
        ('[{"turn_left_deg": "30"}]', "must be a number"),
        ('[{"turn_left_deg": true}]', "must be a number"),
        ('[{"turn_left_deg": NaN}]', "finite"),
        ('[{"move_up_m": 1e999}]', "finite"),
        ('[{"move_up_m": ' + "9" * 400 + "}]", "finite"),
        ('[{"move_up_m": ' + "9" * 5000 + "}]", "not JSON"),
        ('[{"turn_left_m": 30}]', "measured in deg"),
        ('[{"turn_left": 30}]', "'turn' is no verb"),
        ('[{"move_up_m": -1}]', "positive"),
    ],
)
def test_strict_json_names_what_is_wrong(text, names):
    with pytest.raises(ActionError, match=names) as caught:
        parse_json(text)
    assert "\n" not in str(caught.value)


def test_strict_parsers_hold_to_the_vocabulary():
    with pytest.raises(ActionError, match="no verb of 'hatch'"):
        parse_text("move_left 1m", "hatch")
    with pytest.raises(ActionError, match="no verb of 'hatch'"):
        parse_json('[{"roll_left_deg": 5}]', "hatch")
    with pytest.raises(ActionError, match="no vocabulary is called 'half'"):
        parse_text("move_left 1m", "half")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{}", "must be a JSON list"),
        ('[{"from": 1, "to": 2}]', "pair 1"),
        ('[{"from": 0, "to": 1, "actions": []}]', "from 1"),
        ('[{"from": 2, "to": 1, "actions": []}]', "smaller one first"),
        ('[{"from": true, "to": 2, "actions": []}]', "pair 1"),
        ('[{"from": 1, "to": 2, "actions": []}, {"from": 1, "to": 2, "actions": []}]', "pair 2.*twice"),
        ('[{"from": 1, "to": 2, "actions": [{"turn_lft_deg": 3}]}]', "pair 1, action 1"),
        ('[{"from": 1, "to": [2], "actions": []}]', "pair 1"),
    ],
)
def test_strict_pairs_name_what_is_wrong(text, names):
    with pytest.raises(ActionError, match=names):
        parse_pairs(text)


WALK = "move_forward 1.2m, turn_left 30deg"


@pytest.mark.parametrize(
    ("reply", "meaning"),
    [
        ("move_forward 1.2m, turn_left 30deg", WALK),
        ("Move_Forward 1.2 M, TURN_LEFT 30 DEG", WALK),
        ("move_forward 1.2, turn_left 30", WALK),
        ("I would move forward 1.2 metres and then turn left by 30 degrees.", WALK),
        ("First, go forward about 1.2 meters; next rotate to the left by approximately 30°", WALK),
        ("walk forward 120 cm. Turn left: 30 deg", WALK),
        ("move 1.2 m forward, then turn 30 degrees to the left", WALK),
        ("1. **Move forward** 1.2 m\n2. **Turn left** 30 degrees", WALK),
        ('[{"move_forward_m": 1.2}, {"turn_left_deg": 30}]', WALK),
        ('[{"move_forward_m": 1.2}, {"turn_left_deg": 30},]', WALK),
        ('{"move_forward_m": 1.2, "turn_left_deg": 30}', WALK),
        ('{"move_forward_m": "1.2"}, {"turn_left_deg": "30"}', WALK),
        ("[{'move_forward_m': 1.2}, {'turn_left_deg': 30}]", WALK),
        ('[{"move_forward": 1.2}, {"turn_left": 30}]', WALK),
        ('[{"move_forward_m": 1.2}, {"turn_left_deg": 30', WALK),
        ('```json\n[{"move_forward_m": 1.2}, {"turn_left_deg": 30}]\n```', WALK),
        (f"<action>{WALK}</action> <answer>B</answer>", WALK),
        (f"<ACTION> {WALK}", WALK),
        (f"<action>{WALK} <answer>turn right 90 degrees</answer>", WALK),
        (f"<think>turn right 90deg?</think><action>{WALK}</action>", WALK),
        (f"<action>turn_up 5deg</action> no: <action>{WALK}</action>", WALK),
        ('I turn right 10 degrees, or rather: [{"move_forward_m": 1.2}, {"turn_left_deg": 30}]', WALK),
        ('[{"from": 1, "to": 2, "actions": [{"move_forward_m": 1.2}, {"turn_left_deg": 30}]}]', WALK),
        ("move_forward 1.2m, turn_left 3m, turn_left 30deg", WALK),
        ("move_forward 1.2m, turn_up 0deg, roll_up 10deg, turn_left 30deg", WALK),
        ("move_backward -1.2m, turn_right -30deg", WALK),
        ("move backwards 2m, go up .5 m, look", "move_backward 2m, move_up 0.5m"),
        ("roll right 15 degrees, move downward 0.3m", "roll_right 15deg, move_down 0.3m"),
        ("move_forward 4 ft, turn_left 30deg", "turn_left 30deg"),
        ("stay", "stay"),
        ("Stay.", "stay"),
        ("<action>[ ]</action>", "stay"),
        ("The camera does not move: []", "stay"),
    ],
)
def test_lenient_reads_what_a_model_writes(reply, meaning):
    assert to_text(parse_lenient(reply)) == meaning


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "B",
        "I cannot tell.",
        "turn left",
        "30 degrees",
        "stayed",
        "turn_left 1 rad",
        "<answer>turn left 30</answer>",
    ],
)
def test_lenient_returns_none_where_nothing_can_be_read(reply):
    assert parse_lenient(reply) is None
    assert parse_pairs(reply, strict=False) == []


@given(st.text(alphabet=st.sampled_from(list('turnlefmov_ward0123.-[]{}":,<>/action °')), max_size=200))
def test_lenient_never_raises(reply):
    steps = parse_lenient(reply)
    assert steps is None or parse_lenient(to_text(steps)) == steps
    assert isinstance(parse_pairs(reply, strict=False), list)


def test_lenient_pairs():
    reply = """<think>from 1 to 2: turn left 90</think><action>[
      {"from": 1, "to": 2, "actions": [{"turn_left_deg": 30},]},
      {"From": "2", "to": "3", "actions": "move_forward 1m"},
      {"from": 3, "to": 1, "actions": []},
      {"from": 1, "to": 3, "actions": []
    </action>"""
    left, forward = (ActionStep("turn_left", 30.0),), (ActionStep("move_forward", 1.0),)
    assert parse_pairs(reply, strict=False) == [(0, 1, left), (1, 2, forward), (0, 2, ())]
    assert parse_pairs("From image 1 to image 2: turn left 30 degrees", strict=False) == [(0, 1, left)]
