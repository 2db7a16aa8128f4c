"""Pictures and the page: what they show is what the rows hold, and bad input is told in one line."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace
from math import hypot
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hatch_data.actions import parse_text
from hatch_data.cli import main
from hatch_data.errors import ShardError
from hatch_data.motion import Motion
from hatch_data.patches import PatchMap, Visibility
from hatch_data.preview import choose, distributions, overlay, picture, sketch
from hatch_data.preview.choose import Entry
from hatch_data.preview.wording import question_lines, wrapped
from hatch_data.shards import Row, ShardWriter, from_record, read_rows
from tests.builds import build_small


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small build: one synthetic scene, 12 rows, split by time."""
    out = tmp_path_factory.mktemp("preview") / "rooms"
    build_small(out, "synthetic:1", "frames.every=1", limit=12)
    return out


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[Row]:
    return [from_record(record) for record in read_rows(folder)]


def inspect(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


def refused(*arguments: str | Path) -> str:
    """The one line with which a call is refused."""
    result = inspect(*arguments)
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert "Traceback" not in result.output
    return lines[-1]


# Which rows are shown


def entry(number: int, task: str, split: str) -> Entry:
    return Entry(f"id{number:04d}", "scene", task, split, Path(f"{split}-00000-of-00001.parquet"), 0, number)


strata = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["train", "validation", "test"])), min_size=1)


@given(strata, st.integers(1, 40))
def test_spread_gives_every_task_and_split_an_equal_share(kinds: list[tuple[str, str]], count: int) -> None:
    all_rows = [entry(k, task, split) for k, (task, split) in enumerate(kinds)]
    chosen = choose.spread(all_rows, count)
    assert chosen == choose.spread(all_rows, count)
    assert len(chosen) == len(set(chosen)) == min(count, len(all_rows))
    assert [all_rows.index(row) for row in chosen] == sorted(all_rows.index(row) for row in chosen)
    sizes = {kind: kinds.count(kind) for kind in set(kinds)}
    shown = {kind: sum((row.task, row.split) == kind for row in chosen) for kind in sizes}
    for kind in sizes:
        if shown[kind] < sizes[kind]:
            assert shown[kind] >= max(shown.values()) - 1


def test_rows_are_found_by_id_and_by_its_beginning(folder: Path) -> None:
    everything = choose.entries(folder)
    wanted = everything[5]
    assert choose.by_id(everything, wanted.id, folder) == wanted
    assert choose.by_id(everything, wanted.id[:12], folder) == wanted
    assert [(e.id, row.id) for e, row in choose.load([wanted])] == [(wanted.id, wanted.id)]


def test_an_unknown_or_ambiguous_id_is_told_with_what_is_near() -> None:
    several = [entry(k, "a", "train") for k in (1001, 1002, 2003)]
    with pytest.raises(ShardError, match="nearest is id2003"):
        choose.by_id(several, "xid2003", Path("out"))
    with pytest.raises(ShardError, match="--rows 50 --json"):
        choose.by_id(several, "????", Path("out"))
    with pytest.raises(ShardError, match=r"2 row ids begin with 'id1', among them id1001 and id1002"):
        choose.by_id(several, "id1", Path("out"))


# What is drawn over the images


def test_colours_are_a_continuous_gradient_that_tells_places_apart() -> None:
    x, y = np.meshgrid(np.linspace(0, 1, 41), np.linspace(0, 1, 41))
    colors = overlay.position_colors(np.stack([x, y], axis=-1))
    assert colors.min() >= 0 and colors.max() <= 1
    light = colors**2.2  # a step near black is a large one in sRGB and a small one to the eye
    assert max(np.abs(np.diff(light, axis=axis)).max() for axis in (0, 1)) < 0.12
    flat = colors[::5, ::5].reshape(-1, 3)
    apart = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    assert np.sort(apart + 10 * np.eye(len(flat)), axis=-1)[:, 0].min() > 0.02


def test_matched_patches_of_the_second_image_have_the_colour_of_the_place_in_the_first(rows: list[Row]) -> None:
    patches_off = []
    for row in rows:
        both = overlay.overlays(row.matches, 0, 1)
        grid = both[1].grid
        for x, y, u, v in overlay.lines(overlay.find(row.matches, 0, 1)):
            patch = min(int(v * grid[0]), grid[0] - 1) * grid[1] + min(int(u * grid[1]), grid[1] - 1)
            if both[1].visibility[patch] == Visibility.VISIBLE:
                shown = overlay.landing(overlay.find(row.matches, 1, 0))[patch]
                np.testing.assert_allclose(both[1].colors[patch], overlay.position_colors(shown), atol=1e-9)
                patches_off.append(np.abs((shown - (x, y)) * both[0].grid[::-1]).max())
    assert len(patches_off) > 50
    # Lines are drawn for patches whose matches scatter by up to 1.5 patches.
    assert np.median(patches_off) < 0.5 and np.quantile(patches_off, 0.9) < 1.5


def test_lines_are_few_spread_out_and_join_what_the_map_joins() -> None:
    # Each patch of a 6 x 8 grid lands whole, one column further right; the last column leaves the image.
    patches = np.arange(48)
    inside = patches[patches % 8 < 7]
    visibility = np.where(patches % 8 < 7, Visibility.VISIBLE, Visibility.OUT_OF_VIEW).astype(np.uint8)
    ones = np.ones(len(inside), np.float32)
    shifted = PatchMap((6, 8), (6, 8), inside, inside + 1, ones, np.ones(48, np.float32), visibility)
    ends = overlay.lines(shifted)
    assert ends.shape == (overlay.LINES, 4)
    np.testing.assert_allclose(ends[:, 2:] - ends[:, :2], np.tile([1 / 8, 0], (len(ends), 1)), atol=1e-9)
    apart = np.linalg.norm(ends[:, None] - ends[None], axis=-1) + 10 * np.eye(len(ends))
    assert apart.min() > 0.2
    assert np.isnan(overlay.landing(shifted)[7]).all()


def test_tint_changes_matched_patches_and_nothing_else() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    colors = np.full((4, 3), np.nan)
    colors[1] = (1.0, 0.0, 0.0)
    shown = overlay.tint(image, overlay.Overlay((2, 2), np.array([1, 0, 2, 3], np.uint8), colors))
    changed = (shown != image / 255).any(axis=-1)
    assert not changed[:20, :30].any() and not changed[20:].any()
    assert changed[:20, 30:].mean() > 0.9
    assert shown[:20, 30:, 0].mean() > shown[:20, 30:, 1].mean() + 0.2


# The sketch


def test_the_route_walks_step_by_step() -> None:
    stops = sketch.route(Motion(), parse_text("turn_left 90deg, move_forward 1m, turn_right 30deg, move_right 2m"))
    places = [(round(stop.right_m, 6), round(stop.ahead_m, 6), round(stop.heading_deg, 6)) for stop in stops]
    assert places[:4] == [(0, 0, 0), (0, 0, 90), (-1, 0, 90), (-1, 0, 60)]
    # Heading 60 degrees to the left: right is 30 degrees to the right of ahead.
    np.testing.assert_allclose(stops[4].at, (-1 + 2 * np.sin(np.radians(30)), 2 * np.cos(np.radians(30))), atol=1e-9)


def test_routes_end_at_the_second_camera(rows: list[Row]) -> None:
    for row in rows:
        camera = sketch.Stop.of(sketch.cameras(row)[1])
        (label,) = sketch.routed(row)
        end = sketch.route(Motion(), parse_text(label.text))[-1]
        assert hypot(end.right_m - camera.right_m, end.ahead_m - camera.ahead_m) <= hypot(0.05, 0.05) + 1e-6
        assert abs((end.heading_deg - camera.heading_deg + 180) % 360 - 180) <= 2.5 + 1e-6


def test_view_cones_have_the_horizontal_field_of_view(rows: list[Row]) -> None:
    row = replace(rows[0], image_sizes=[(100, 640)], intrinsics=[(320.0, 1.0, 319.5, 50.0)])
    assert sketch.side_angles(row, 0) == pytest.approx((45, 45))
    row = replace(row, intrinsics=[(320.0, 1.0, 159.5, 50.0)])
    assert sketch.side_angles(row, 0) == pytest.approx((np.degrees(np.arctan(0.5)), np.degrees(np.arctan(1.5))))


# Words and the whole picture


def test_the_right_option_is_marked_once_and_the_answer_said(rows: list[Row]) -> None:
    for row in rows:
        marked = [line.text for line in question_lines(row) if line.mark == "right"]
        assert marked[-1] == row.answer
        if row.form == "choice":
            assert marked[:-1] == [f"{row.answer}. {row.options['ABCD'.index(row.answer)]}"]
        narrow = wrapped(question_lines(row), 40)
        assert all(len(line.text) <= 40 for line in narrow)
        assert [line.mark for line in narrow].count("right") == len(marked)


def many(rows: list[Row], count: int) -> Row:
    """A row of `count` images of different shapes, with the actions and maps of its first two."""
    views = [(row, k) for row in rows for k in (0, 1)][:count]
    images, sizes = [], []
    for number, (row, k) in enumerate(views):
        image = Image.open(io.BytesIO(row.images[k])).convert("RGB")
        image = image.crop((0, 0, image.width - 60 * (number % 3), image.height))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        images.append(buffer.getvalue())
        sizes.append((image.height, image.width))
    return replace(
        rows[0],
        frames=[row.frames[k] for row, k in views],
        images=images,
        image_sizes=sizes,
        intrinsics=[row.intrinsics[k] for row, k in views],
        world_from_camera=[row.world_from_camera[k] for row, k in views],
    )


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_a_picture_of_any_number_of_images(rows: list[Row], count: int) -> None:
    row = many(rows, count)
    if count == 1:
        row = replace(row, actions=[], matches=[])
    drawn = picture.draw(row, "train")
    assert drawn.pixels.shape[1] == picture.WIDTH_PX
    png = Image.open(io.BytesIO(drawn.png()))
    assert (png.width, png.height) == drawn.pixels.shape[1::-1]
    for band in (drawn.images, drawn.stored, drawn.sketch):
        shown = drawn.crop(band)
        assert min(shown.shape[:2]) > 60 and shown.std() > 5


def test_a_picture_shows_the_stored_photos(rows: list[Row]) -> None:
    drawn = picture.draw(rows[0])
    left, top, _, bottom = drawn.stored
    photo = Image.fromarray(picture.decode(rows[0], 0))
    width = round((bottom - top) * photo.width / photo.height)
    shown = drawn.pixels[top:bottom, left : left + width].astype(float)
    wanted = np.asarray(photo.resize((width, bottom - top), Image.Resampling.BILINEAR), float)
    assert np.abs(shown - wanted).mean() < 12


def test_an_image_that_does_not_decode_is_named(rows: list[Row]) -> None:
    broken = replace(rows[0], images=[rows[0].images[0], rows[0].images[1][:200]])
    with pytest.raises(ShardError, match=rf"row {rows[0].id}: image 2: frame {rows[0].frames[1]}: .*not decode"):
        picture.draw(broken)


def test_distributions_agree_with_the_rows(folder: Path, rows: list[Row]) -> None:
    (overlap, rotation, distance), looked_at = distributions.measure(choose.entries(folder))
    assert looked_at == len(rows)
    wanted = {
        round(np.mean([100 * match.map.overlap for match in row.matches]).item(), 3): np.linalg.norm(
            row.world_from_camera[0][:3, 3] - row.world_from_camera[1][:3, 3]
        )
        for row in rows
    }
    assert dict(zip(np.round(overlap.values, 3), distance.values, strict=True)) == pytest.approx(wanted)
    assert (rotation.values >= 0).all() and (rotation.values <= 180).all()
    for spread in (overlap, rotation, distance):
        assert spread.counts.sum() == len(rows)


# The command


def test_inspect_writes_pictures_and_one_page_and_leaves_the_build_alone(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = inspect(folder, "--rows", "4")
    assert result.exit_code == 0, result.output
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    out = folder.with_name("rooms-preview")
    pictures = sorted(path.name for path in out.glob("*.png"))
    assert len(pictures) == 4 and sorted(path.name for path in out.iterdir()) == sorted([*pictures, "index.html"])
    assert max(map(len, result.stdout.splitlines()[:6])) <= 80
    assert re.search(r"^all +\d+ +\d+ +12$", result.stdout, re.MULTILINE)
    assert str(out / "index.html") in result.stdout

    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.count("<article") == 4 and page.count("data:image/webp;base64,") == 12
    assert not re.search(r"https?://|<script|<link|url\(|src=\"(?!data:)", page)
    assert "prefers-color-scheme: dark" in page and 'name="viewport"' in page
    assert json.loads((folder / "build.json").read_text())["recipe_digest"] in page


def test_inspect_shows_one_row_by_id_as_json(folder: Path, rows: list[Row], tmp_path: Path) -> None:
    row = next(row for row in rows if row.form == "choice")
    result = inspect(folder, "--id", row.id, "--out", tmp_path / "one", "--json")
    told = json.loads(result.stdout)
    assert [shown["id"] for shown in told["shown"]] == [row.id]
    assert Image.open(told["shown"][0]["picture"]).width == picture.WIDTH_PX
    assert sum(count for counts in told["rows"].values() for count in counts.values()) == len(rows)
    right = f'<p class="right">{row.answer}. {row.options["ABCD".index(row.answer)]}</p>'
    assert right in Path(told["page"]).read_text(encoding="utf-8")


def test_what_a_row_says_cannot_break_the_page(folder: Path, rows: list[Row], tmp_path: Path) -> None:
    hostile = replace(rows[0], question="<script>$x $$ ${title}</script>", answer="<b>", scene="a & b")
    odd = tmp_path / "odd"
    odd.mkdir()
    shutil.copy(folder / "build.json", odd)
    writer = ShardWriter(odd / "train-00000-of-00001.parquet")
    writer.write(hostile)
    writer.close()
    result = inspect(odd)
    assert result.exit_code == 0, result.output
    page = (tmp_path / "odd-preview" / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;$x $$ ${title}&lt;/script&gt;" in page


def test_bad_input_is_one_line(folder: Path, tmp_path: Path) -> None:
    assert "no such folder" in refused(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no shards" in refused(tmp_path / "empty")
    assert "no row has the id 'zzz'" in refused(folder, "--id", "zzz")
    assert "only read" in refused(folder, "--out", folder / "pictures")
    assert "holds a build" in refused(folder, "--out", shutil.copytree(folder, tmp_path / "other"))
    unfinished = shutil.copytree(folder, tmp_path / "unfinished")
    (unfinished / "build.json").unlink()
    assert "no build.json" in refused(unfinished)
    (tmp_path / "file").write_text("")
    assert "cannot be made" in refused(folder, "--out", tmp_path / "file")
    assert inspect(folder, "--rows", "2", "--id", "x").exit_code == 2


def test_a_damaged_shard_is_named(folder: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(folder, tmp_path / "damaged")
    shard = sorted(damaged.glob("train-*.parquet"))[0]
    data = bytearray(shard.read_bytes())
    shard.write_bytes(data[: len(data) // 2])
    assert shard.name in refused(damaged)
    data[4:4000] = bytes(3996)
    shard.write_bytes(data)
    assert shard.name in refused(damaged)
