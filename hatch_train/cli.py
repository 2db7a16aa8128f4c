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
    if not os.environ.keys() & {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"}:
        # Packs differ in size: blocks that grow leave no holes. The newer torch reads the first, the older the second.
        os.environ["PYTORCH_ALLOC_CONF"] = os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
    from hatch_train import parallel
    from hatch_train.recipe import read

    settings = read(recipe, overrides)
    if dry_run:
        from hatch_train import inspection

        outlook = inspection.outlook(settings)
        click.echo(json.dumps(outlook, indent=2) if as_json else inspection.outlook_text(settings, outlook))
        return
    if (processes := parallel.to_start(settings)) > 1:
        again = [recipe, *(part for override in overrides for part in ("--set", override)), *["--json"] * as_json]
        click.get_current_context().exit(parallel.launch(processes, ["run", *again]))
    from hatch_train import loop
    from hatch_train.folder import report_text

    report = loop.run(settings)
    if parallel.rank() == 0:
        click.echo(json.dumps(report, indent=2) if as_json else report_text(report))


@main.command()
@click.argument("recipe")
@_overrides
@_as_json
def check(recipe: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show what RECIPE would train on: counts, sizes, memory, one sample with its label mask.

    OUTPUT-check.png, beside the output folder, shows what matches in its images.
    """
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


@main.command("eval")
@click.argument("checkpoint")
@click.option("--benchmark", "-b", required=True, metavar="NAME", help="Such as spar_mv, mindcube_tiny, held_out.")
@click.option("--data", "-d", type=click.Path(path_type=Path), required=True, help="Its downloaded files, or shards.")
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Folder of the report.  [default: below out/eval]")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most N questions, evenly spread.")
@click.option("--prompt", type=click.Choice(["plain", "action"]), default="plain", show_default=True)
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True, help="Questions asked together.")
@click.option("--backend", type=click.Choice(["transformers", "vllm"]), default="transformers", show_default=True)
@click.option("--max-new-tokens", type=click.IntRange(1), default=2048, show_default=True)
@click.option("--max-pixels", type=click.IntRange(1), help="Bound on an image.  [default: the checkpoint's]")
@_as_json
def evaluate(checkpoint: str, as_json: bool, **options: Any) -> None:
    """Ask CHECKPOINT (a Hugging Face folder, a hub id or OUTPUT/checkpoints/...) a benchmark's questions.

    Run again to go on after a stop. Prints native and repaired scores; the folder has the replies and a picture.
    """
    from hatch_train.evaluation import report, run

    request = run.Request(checkpoint, **options)
    found = run.evaluate(request)
    click.echo(json.dumps(found, indent=2) if as_json else f"{report.text(found)}\n{request.folder}")


@main.command()
@click.argument("model")
@click.option("--data", "-d", type=click.Path(path_type=Path), required=True, help="Shards, of any scan.")
@click.option("--split", help="[default: test, else validation, else train]")
@click.option("--limit", type=click.IntRange(1), default=400, show_default=True, metavar="N", help="Pairs, at most.")
@click.option("--max-pixels", type=click.IntRange(1), help="Bound on an image.  [default: the model's]")
@_as_json
def probe(model: str, data: Path, split: str | None, limit: int, max_pixels: int | None, as_json: bool) -> None:
    """How well the vision tower of MODEL matches patches, by overlap and viewpoint change.

    MODEL is the folder of a run, which is judged before and after, or what eval takes. Baselines stand beside it.
    """
    from hatch_train.evaluation import generation, probes

    if (Path(model) / "recipe.yaml").is_file():
        towers = generation.open_run(Path(model), max_pixels)
    else:
        towers = {"recall@1": generation.open_model(model, max_pixels)}
    found = {name: probes.matching(tower, data, split or "", limit) for name, tower in towers.items()}
    click.echo(json.dumps(found, indent=2) if as_json else probes.matching_text(found))


@main.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@_as_json
def compare(first: Path, second: Path, as_json: bool) -> None:
    """Test whether report SECOND is better than report FIRST, sample by sample."""
    from hatch_train.evaluation import comparison

    found = comparison.compare(comparison.read_report(first), comparison.read_report(second))
    click.echo(json.dumps(found, indent=2) if as_json else comparison.text(found))


@main.command()
@click.argument("recipe")
@_overrides
@click.option("--seeds", type=click.IntRange(1), metavar="N", help="How many seeds.  [default: from the recipe]")
@click.option("--out", "-o", metavar="DIR", help="Folder of the runs and the report.  [default: from the recipe]")
@_as_json
def ablate(recipe: str, overrides: tuple[str, ...], seeds: int | None, out: str | None, as_json: bool) -> None:
    """Train the arms of RECIPE with several seeds, judge them on held-out scenes and test the differences.

    RECIPE is a file, or one of readout, alignment, cpu, gpu. Run again to continue after a stop: what is finished is
    kept.
    """
    from hatch_train import ablation, ablation_report

    given = {"seeds": seeds, "output": out}
    overrides = (*overrides, *(f"{key}={value}" for key, value in given.items() if value is not None))
    report = ablation.run(ablation.read(recipe, overrides))
    click.echo(json.dumps(report, indent=2) if as_json else ablation_report.text(report))


if __name__ == "__main__":
    main()
