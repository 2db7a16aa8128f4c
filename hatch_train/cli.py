"""The command `hatch-train`. Imports happen inside commands, so that --help is quick."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from hatch_data.errors import HatchError
from hatch_train.errors import Stopped


class _OneLineErrors(click.Group):
    """Wrong use or unusable input is one line and exit code 2; a stop on request one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HatchError as error:
            click.echo(f"error: {' '.join(str(error).split())}", err=True)
            ctx.exit(1 if isinstance(error, Stopped) else 2)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] not in ("torch", "transformers", "tokenizers", "tensorboard", "peft"):
                raise
            click.echo(f"error: {error.name} is not installed; run pip install 'hatch-spatial[train]'", err=True)
            ctx.exit(2)


@click.group(cls=_OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hatch-spatial", prog_name="hatch-train")
def main() -> None:
    """Train vision-language models on shards that hatch-data built."""
    # Read when OpenMP starts: threads that spin while they wait take the cores from the data workers.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


_overrides = click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="Override a setting; repeatable.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@main.command()
@click.argument("recipe")
@_overrides
@click.option("--dry-run", is_flag=True, help="Print the recipe, the plan and a memory estimate; train nothing.")
@_as_json
def run(recipe: str, overrides: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Train RECIPE, a file or the name of a shipped one. Run again to continue after a stop."""
    from hatch_train import inspection, loop
    from hatch_train.recipe import read

    settings = read(recipe, overrides)
    if dry_run:
        outlook = inspection.outlook(settings)
        click.echo(json.dumps(outlook, indent=2) if as_json else inspection.outlook_text(settings, outlook))
        return
    report = loop.run(settings)
    click.echo(json.dumps(report, indent=2) if as_json else inspection.report_text(report))


@main.command()
@click.argument("recipe")
@_overrides
@_as_json
def check(recipe: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show what RECIPE would train on: counts, sizes, one sample with its label mask, memory."""
    from hatch_train import inspection
    from hatch_train.recipe import read

    settings = read(recipe, overrides)
    found = inspection.check(settings)
    click.echo(json.dumps(found, indent=2) if as_json else inspection.check_text(found))


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def export(checkpoint: Path, out: Path) -> None:
    """Write CHECKPOINT, a folder under OUTPUT/checkpoints, as a plain Hugging Face folder OUT."""
    from hatch_train import loop

    loop.export(checkpoint, out)
    click.echo(f"{out}: weights, config, tokenizer and image processor")


if __name__ == "__main__":
    main()
