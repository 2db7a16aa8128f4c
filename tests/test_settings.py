"""Settings from defaults, file and `--set`; recipes by name; what is wrong is told with the nearest right thing."""

from __future__ import annotations

import pytest
import yaml

from hatch_data.errors import HatchError, SettingsError
from hatch_data.recipe import DataRecipe, ScanSettings
from hatch_data.settings import load, resolve, shipped_recipes, to_yaml, validate


def refused(*overrides: str) -> str:
    with pytest.raises(SettingsError) as error:
        load(DataRecipe, None, overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_defaults_file_and_overrides_come_in_this_order(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 5\npairs: {per_frame: 3, least_overlap: 0.2}\n")
    recipe = load(DataRecipe, file, ["pairs.per_frame=2", "pairs.per_frame=1.5", "images.longest_side_px=null"])
    assert recipe.seed == 5
    assert recipe.pairs.per_frame == 1.5
    assert recipe.pairs.least_overlap == 0.2
    assert recipe.pairs.greatest_overlap == DataRecipe().pairs.greatest_overlap
    assert load(DataRecipe, None) == DataRecipe()


def test_a_key_below_a_mapping_changes_its_default(tmp_path):
    default, file = DataRecipe(), tmp_path / "mine.yaml"
    file.write_text("questions: {overlap: 1}\n")
    one = "questions.camera_motion=2"
    assert load(DataRecipe, None, [one]).questions == {**default.questions, "camera_motion": 2.0}
    assert load(DataRecipe, file, [one]).questions == {"overlap": 1.0, "camera_motion": 2.0}
    assert load(DataRecipe, None, ["questions={overlap: 1}", one]).questions == {"overlap": 1.0, "camera_motion": 2.0}
    assert load(DataRecipe, None, ["forms.fill=0"]).forms == {**default.forms, "fill": 0.0}
    groups = load(DataRecipe, None, ["groups.sizes.3=1", "groups.sizes.5=1", "groups.kinds.turn=2"]).groups
    assert groups.sizes == {**default.groups.sizes, 3: 1.0, 5: 1.0}
    assert groups.kinds == {**default.groups.kinds, "turn": 2.0}
    scans = load(DataRecipe, None, ["scans.office.pose_shift=1", "scan.pose_shift=2"])
    assert scans.scans == {"office": ScanSettings(pose_shift=1)}
    assert scans.scan == ScanSettings(pose_shift=2)
    assert DataRecipe() == default


def test_a_recipe_reads_back_what_it_writes(tmp_path):
    recipe = load(DataRecipe, None, ["seed=7", "questions={camera_motion: 2.5}", "actions.vocabulary=hatch"])
    file = tmp_path / "again.yaml"
    file.write_text(to_yaml(recipe))
    assert load(DataRecipe, file) == recipe
    assert load(DataRecipe, file).digest == recipe.digest


def test_every_setting_moves_the_digest():
    changes = (
        "seed=1",
        "frames.every=2",
        "pairs.per_frame=1",
        "images.jpeg_quality=80",
        "grid.token_px=32",
        "split.test=0.1",
    )
    digests = {load(DataRecipe, None, [change]).digest for change in changes}
    assert len(digests | {DataRecipe().digest}) == len(changes) + 1


def test_recipes_cannot_be_changed_in_place():
    with pytest.raises(Exception, match="frozen"):
        DataRecipe().seed = 3


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("pair.per_frame=2", "unknown key 'pair'; did you mean 'pairs'?"),
        ("pairs.per_fram=2", "unknown key 'pairs.per_fram'; did you mean 'per_frame'?"),
        ("images.xyzzy=2", "unknown key 'images.xyzzy'; known here: longest_side_px, jpeg_quality"),
        ("pairs.per_frame=many", "'pairs.per_frame': input should be a valid number"),
        ("pairs.per_frame=0", "'pairs.per_frame': input should be greater than 0 (got 0)"),
        ("images.jpeg_quality=101", "'images.jpeg_quality'"),
        ("split.by=place", "'split.by': input should be 'auto', 'space' or 'time' (got 'place')"),
        ("actions.rotation_step_deg=7", "rotation_step_deg is 7.0: use a step that divides 180"),
        ("split={validation: 0.6, test: 0.4}", "split: validation 0.6 and test 0.4 leave nothing for training"),
        ("forms={choice: 0}", "forms: weigh forms of questions, none below 0"),
        ("forms={}", "forms: weigh forms of questions, none below 0"),
        ("forms.fill=-1", "forms: weigh forms of questions, none below 0"),
        ("questions={}", "questions: weigh families, none below 0"),
        ("questions={overlap: 0, camera_motion: 0}", "questions: weigh families, none below 0"),
        ("questions.overlap=-1", "questions: weigh families, none below 0"),
        ("questions.overlap=.inf", "questions: weigh families, none below 0"),
        ("groups.sizes={}", "groups.sizes: weigh numbers of views from 2 to 8"),
        ("groups.kinds.walk=.nan", "groups.kinds: weigh kinds of groups"),
        ("pairs.least_overlap=0.95", "pairs: no overlap lies between least_overlap 0.95 and greatest_overlap 0.9"),
        ("grid.max_pixels=3000", "grid: no size lies between min_pixels 3136 and max_pixels 3000"),
        ("seed", "--set seed: write it as key.sub=value"),
        ("=3", "--set =3: write it as key.sub=value"),
        ("seed=[1", "--set seed=[1: '[1' is not a YAML value"),
    ],
)
def test_what_is_wrong_is_told(override, told):
    assert told in refused(override)


def test_questions_that_come_with_a_scan_need_all_its_frames():
    told = "frames.every is 2: questions that come with SPAR-7M-RGBD need the frames that they show"
    assert told in refused("questions_from=spar", "frames.every=2")
    with pytest.raises(SettingsError, match=r"frames\.every is 3"):
        load(DataRecipe, resolve("paper", "data"), ["frames.every=3"])


def test_a_value_is_no_group():
    assert "'seed' holds a value, not a group of settings" in refused("seed=1", "seed.x=2")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- 1\n- 2\n", "a recipe is a mapping of keys to values; this file holds list"),
        ("", "this file holds NoneType"),
        ("a: [1,", "not valid YAML"),
        ("pears: {per_frame: 2}", "unknown key 'pears'; did you mean 'pairs'?"),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, told):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as error:
        load(DataRecipe, file)
    assert str(error.value).startswith(str(file))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_text_is_named(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(SettingsError, match=r"bad\.yaml: cannot be read"):
        load(DataRecipe, file)


def test_recipes_are_found_by_name_and_by_path(tmp_path):
    assert resolve("default", "data") == shipped_recipes() / "data" / "default.yaml"
    assert resolve("default.yaml", "data") == resolve("default", "data")
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 1\n")
    assert resolve(str(file)) == file
    with pytest.raises(SettingsError, match=r"defualt: no such recipe file; did you mean 'default'\?"):
        resolve("defualt", "data")
    with pytest.raises(SettingsError, match=r"xyzzy: no such recipe file; shipped recipes: .*default"):
        resolve("xyzzy", "data")


def test_shipped_recipes_are_sound_and_the_default_is_the_default():
    recipes = {path.stem: load(DataRecipe, path) for path in sorted((shipped_recipes() / "data").glob("*.yaml"))}
    assert recipes["default"] == DataRecipe()
    assert len(recipes) >= 2


def test_errors_of_plain_trees_name_where_they_stand():
    with pytest.raises(HatchError, match=r"^build\.json: unknown key 'sed'; did you mean 'seed'\?"):
        validate(DataRecipe, {"sed": 1}, "build.json")
    with pytest.raises(HatchError, match=r"^build\.json: [^\n]*'a b'[^\n]*$"):
        validate(DataRecipe, {"a\nb": 1}, "build.json")
    assert yaml.safe_load(to_yaml(DataRecipe()))["seed"] == 0
