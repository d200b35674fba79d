"""The command line: `ganpress …`, the same as `python -m flows …`."""

import sys

import typer

from flows.commands.compare import compare
from flows.commands.cost import cost
from flows.commands.data import data
from flows.commands.demo import demo
from flows.commands.doctor import doctor
from flows.commands.import_ import import_
from flows.commands.run import run
from flows.commands.serve import serve
from flows.commands.status import status
from flows.commands.targets import targets
from flows.commands.ui import ui
from ganpress.errors import GanpressError
from ganpress.telemetry import switch_off

app = typer.Typer(
    name="ganpress",
    help="From versioned data to a compressed edge generator, with proof.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (run, status, compare, ui, doctor, cost, targets, serve, demo):
    app.command()(command)
app.command(name="import")(import_)
if isinstance(data, typer.Typer):
    app.add_typer(data, name="data")


def main() -> None:
    """Run a command; a `GanpressError` is one line on stderr and exit code 2."""
    switch_off()
    try:
        app()
    except GanpressError as error:
        print(f"ganpress: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
