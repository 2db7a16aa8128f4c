"""`hatch-data`: build, merge, inspect, verify, audit, doctor.

Every command is one call; heavy imports happen where they are used.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from hatch_data.errors import HatchError

if TYPE_CHECKING:
    from hatch_data.folder import BuildFolder


class _OneLineErrors(click.Group):
    """Errors that are meant for the user become one line and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HatchError as error:
            click.echo(f"error: {' '.join(str(error).split())}", err=True)
            ctx.exit(2)


@click.group(cls=_OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hatch-spatial", prog_name="hatch-data")
def main() -> None:
    """Turn posed RGB-D scans into training data for multi-image spatial reasoning."""


@main.command()
@click.option("--scenes", "-s", multiple=True, required=True, help="A scan, a folder of scans, a glob, or synthetic:N.")
@click.option("--out", "-o", required=True, help="Folder for the shards, or a URL: s3://, gs://, as fsspec knows them.")
@click.option("--recipe", "-r", default="default", show_default=True, help="Recipe file, or name of a shipped one.")
@click.option("--layout", help="Layout of the scans, where it is not to be detected.")
@click.option(
    "--depth",
    type=click.Choice(["auto", "sensor", "mesh", "fused"]),
    help="Where depth comes from.  [default: from the recipe]",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one setting, e.g. pairs.per_frame=2."
)
@click.option(
    "--workers", type=click.IntRange(0), help="Processes; 0 builds in the command's own.  [default: one per core]"
)
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True)
@click.option(
    "--address", help="Of a running Ray cluster, e.g. auto or ray://head:10001.  [default: one on this machine]"
)
@click.option("--seed", type=int, help="Seed of all choices.  [default: from the recipe]")
@click.option("--limit", type=click.IntRange(1), metavar="ROWS", help="At most this many rows, dealt out to the scans.")
@click.option("--retry-failed", is_flag=True, help="Build scans again that failed before.")
@click.option("--dry-run", is_flag=True, help="Build a few stretches, say what all would come to, and keep nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and progress as JSON lines on stderr.")
def build(
    scenes: tuple[str, ...],
    out: str,
    recipe: str,
    layout: str | None,
    depth: str | None,
    overrides: tuple[str, ...],
    workers: int | None,
    engine: Literal["local", "ray"],
    address: str | None,
    seed: int | None,
    limit: int | None,
    retry_failed: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Build shards from scans. A rerun of the same command goes on where the last one stopped."""
    from hatch_data import build as builds
    from hatch_data import settings
    from hatch_data.recipe import DataRecipe

    if address is not None and engine != "ray":
        raise click.UsageError("--address is of a Ray cluster: add --engine ray")
    if depth is not None:
        overrides = (*overrides, f"depth={depth}")
    if seed is not None:
        overrides = (*overrides, f"seed={seed}")
    typed = settings.load(DataRecipe, settings.resolve(recipe, "data"), overrides)
    plan = builds.plan(scenes, out, typed, layout, limit)
    if dry_run:
        from hatch_data.forecast import forecast, forecast_text

        told = forecast(plan, workers)
        click.echo(json.dumps(told, indent=2) if as_json else forecast_text(told))
        return
    for warning in plan.held_out[1]:
        click.echo(f"warning: {warning}", err=True)
    with _interruptible(plan):
        manifest = builds.run(
            plan,
            workers,
            engine=engine,
            address=address,
            retry_failed=retry_failed,
            style="json" if as_json else None,
        )
    click.echo(json.dumps(manifest, indent=2) if as_json else builds.summary(manifest, out))
    sys.exit(1 if any(scene["failure"] for scene in manifest["scenes"].values()) else 0)


@contextmanager
def _interruptible(plan: BuildFolder) -> Iterator[None]:
    """Ctrl-C and SIGTERM end a build in order, with a line that says how far it came, and exit code 128 + signal."""
    caught = signal.SIGINT

    def end(number: int, _frame: object) -> None:
        nonlocal caught
        caught = signal.Signals(number)
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        states = plan.states()
        done = states["done"] + states["failed"]
        click.echo(
            f"interrupted by {caught.name}: {done} of {sum(states.values())} scans are done; "
            "the same command again goes on from here",
            err=True,
        )
        sys.exit(128 + caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@main.command()
@click.argument("folders", metavar="DIR [DIR ...]", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", "-o", type=click.Path(path_type=Path), required=True, help="Folder for the merged build.")
@click.option(
    "--weight",
    "weights",
    multiple=True,
    metavar="DIR=W",
    help="Take a row of DIR W times as likely as one of a folder without a weight.",
)
@click.option(
    "--rows", type=click.IntRange(1), metavar="N", help="Exactly this many rows.  [default: all the weights allow]"
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the choice of rows.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def merge(
    folders: tuple[Path, ...], out: Path, weights: tuple[str, ...], rows: int | None, seed: int, as_json: bool
) -> None:
    """Put finished builds into one, or a sample of them, without building anything again."""
    from hatch_data import merge as merging

    manifest = merging.merge(folders, out, merging.parse_weights(weights, folders), rows, seed)
    click.echo(json.dumps(manifest, indent=2) if as_json else merging.summary(manifest, out))


@main.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--scenes", "-s", multiple=True, help="The scans it was built from: compare with them too, bit for bit.")
@click.option("--layout", help="Layout of the scans, where it is not to be detected.")
@click.option("--workers", type=click.IntRange(0), metavar="N", help="Processes.  [default: one for each core]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def verify(folder: Path, scenes: tuple[str, ...], layout: str | None, workers: int | None, as_json: bool) -> None:
    """Derive again what the rows of a build claim, and list where they disagree."""
    from hatch_data import verify as verification

    report = verification.verify(folder, scenes, layout, workers)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.to_text())
    sys.exit(0 if report.agrees else 1)


@main.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--rows", type=click.IntRange(1), metavar="N", help="How many rows to show.  [default: 12]")
@click.option("--id", "row_id", metavar="ID", help="Show the row with this id, or with an id that begins so.")
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Folder for the pictures.  [default: DIR-preview]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def inspect(folder: Path, rows: int | None, row_id: str | None, out: Path | None, as_json: bool) -> None:
    """Show rows of a build: a picture of each, one HTML page, and a table of counts."""
    if rows is not None and row_id is not None:
        raise click.UsageError("--rows and --id exclude each other")
    from hatch_data.preview.inspect import inspect as inspect_folder

    shown = inspect_folder(folder, out, rows or 12, row_id)
    click.echo(json.dumps(shown.as_json(), indent=2) if as_json else shown.as_text())


@main.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def audit(folder: Path, as_json: bool) -> None:
    """Balance of answers, and what can be guessed from text alone, per family of questions."""
    from hatch_data import audit as auditing

    found = auditing.audit(folder)
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else found.to_text())
    sys.exit(1 if any(family.findings for family in found.families) else 0)


@main.command()
@click.argument("path", metavar="PATH")
@click.option("--layout", help="Layout of the scan, where it is not to be detected.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Try a repair, e.g. scan.pose=camera_from_world."
)
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Folder for the pictures.  [default: SCAN-doctor]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def doctor(path: str, layout: str | None, overrides: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Find out what is wrong with a scan, or with each of a folder, before anything is built from it."""
    from hatch_data import settings
    from hatch_data.doctor.visit import visit
    from hatch_data.recipe import DataRecipe

    visits = visit(path, layout, settings.load(DataRecipe, None, overrides), out)
    if as_json:
        click.echo(json.dumps([one.as_json() for one in visits], indent=2))
    else:
        click.echo("\n\n".join(one.as_text() for one in visits))
    sys.exit(max(one.exit_code for one in visits))


if __name__ == "__main__":
    main()
