"""`ganpress show`: DVC's stages, metrics, experiments and plots in forms that fit the screen."""

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.options import AsJson, one_line

show = typer.Typer(
    name="show", help="Stages, metrics, experiments and plots, readable and offline.", no_args_is_help=True
)
MAX_WORD = 200
Format = Annotated[bool, typer.Option("--mermaid", help="Print Mermaid text instead of a drawing.")]


@show.command()
def graph(mermaid: Format = False) -> None:
    """Draw the stages, each family as one box, without arrows that follow from others."""
    from flows.dvc_views import draw_graph

    typer.echo(draw_graph(_root(), mermaid))


@show.command()
def metrics(
    stage: Annotated[
        str | None,
        typer.Argument(help="Only this stage, or this item: teacher, student, student@d2-mse.", callback=one_line()),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Only metrics whose name holds this text.", callback=one_line(MAX_WORD))
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the metrics of each stage, one below the other."""
    from flows.console import make_console
    from flows.dvc_views import stage_metrics
    from flows.readable import Line, print_blocks

    console, found = make_console(), stage_metrics(_root(), stage, name)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for title, values in found.items():
        print_blocks(console, list(values), [Line(title, tuple(values.values()))])


@show.command()
def experiments(as_json: AsJson = False) -> None:
    """Print each experiment of `dvc exp run`: what it changed, and the results that the report begins with."""
    from flows.console import make_console
    from flows.dvc_views import experiment_lines
    from flows.readable import print_lines

    headings, lines = experiment_lines(_root())
    if as_json:
        typer.echo(json.dumps({line.name: dict(zip(headings, line.cells, strict=True)) for line in lines}))
        return
    print_lines(make_console(), "experiment", headings, lines)


@show.command()
def plots(
    revisions: Annotated[
        list[str] | None,
        typer.Argument(help="Commits, branches or experiments to compare the workspace with.", callback=one_line()),
    ] = None,
) -> None:
    """Write the page of `dvc plots diff` so that it draws without the network, and make DVC itself write it so here."""
    from flows.plots_page import write_plots

    typer.echo(f"plots: {write_plots(_root(), revisions or [])}")


def _root() -> Path:
    from flows.environment import export_environment, find_root

    root = find_root()
    export_environment(root)
    return root
