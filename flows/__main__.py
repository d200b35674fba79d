"""The command line: `ganpress …`, the same as `python -m flows …`."""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from flows.commands.apply import apply
from flows.commands.compare import compare
from flows.commands.compress_directly import compress
from flows.commands.cost import cost
from flows.commands.data import data
from flows.commands.demo import demo
from flows.commands.doctor import doctor
from flows.commands.import_ import import_
from flows.commands.init import init, upgrade
from flows.commands.lineage import lineage
from flows.commands.promote import promote, rollback
from flows.commands.remote import remote
from flows.commands.run import run
from flows.commands.serve import serve
from flows.commands.show import show
from flows.commands.show_report import report
from flows.commands.status import status
from flows.commands.targets import targets
from flows.commands.ui import ui
from ganpress.basics.telemetry import switch_off
from ganpress.config.yaml_text import quoted
from ganpress.errors import ConfigError, GanpressError

ClickException: Any = typer.BadParameter.__mro__[2]
"""Base class of all usage errors; typer bundles click under a private name."""
app = typer.Typer(
    name="ganpress",
    help="Compress GAN generators for edge devices, from versioned data to a verified file.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _in_folder(
    folder: Annotated[
        Path | None,
        typer.Option("-C", metavar="DIR", help="Run in this folder, as if the command were started there."),
    ] = None,
) -> None:
    """Compress GAN generators for edge devices, from versioned data to a verified file."""
    if folder is not None:
        if not folder.is_dir():
            raise ConfigError(f"-C {quoted(str(folder))} is not a folder; name the folder of a project")
        os.chdir(folder)


PANELS: dict[str, tuple[Any, ...]] = {
    "A project of your own": (init, upgrade),
    "Run the chain": (run, status, serve),
    "Your own generators": (compress, apply, cost),
    "Look at results": (report, compare, lineage, ui, demo),
    "Ship and repair": (targets, promote, rollback, doctor),
}
OWN = "Your own generators"
EXAMPLES = {
    "init": (
        "ganpress init faces --data folder:pictures",
        "ganpress init mine --generator gen.py:build --weights g.pt --example-input 1x128",
    ),
    "upgrade": ("ganpress upgrade", "ganpress upgrade --dry-run"),
    "run": ("ganpress run --recipe mnist", "ganpress run --from search --set search.max_parameters=30000"),
    "status": ("ganpress status", "ganpress status --recipe mnist"),
    "serve": ('ganpress serve --cron "0 3 * * *"', "ganpress serve --interval 3600"),
    "compress": (
        "ganpress compress gen.py:build --weights g.pt --example-input 1x3x256x256 --data pictures -o out",
        "ganpress compress gen.py:build --weights g.pt --example-input 1x100 --method qad -o out",
    ),
    "apply": ("ganpress apply out picture.jpg -o drawn", "ganpress apply out pictures -o drawn --overlap 32"),
    "cost": (
        "ganpress cost resnet_9blocks:ngf=64 --size 256x256 --json",
        "ganpress cost --training --recipe horse2zebra_cyclegan --tflops 20",
    ),
    "report": ("ganpress report --open", "ganpress report --recipe mnist"),
    "compare": ("ganpress compare --sort fid --budget 100kB", "ganpress compare --edge --json"),
    "lineage": (
        "ganpress lineage artifacts/export/subnet-int8/generator.onnx",
        "ganpress lineage mailed.onnx --json",
    ),
    "show": ("ganpress show graph", "ganpress show metrics evaluate --name fid"),
    "ui": ("ganpress ui", "ganpress ui --port 5001 --budget 100kB"),
    "demo": ("ganpress demo", "ganpress demo --compressed export/subnet-int8 --out site"),
    "targets": ("ganpress targets", "ganpress targets --json"),
    "promote": ("ganpress promote", "ganpress promote export/subnet-int8"),
    "remote": (
        "ganpress remote init s3://bucket/ganpress --mlflow http://mlflow:5000",
        "ganpress remote check",
    ),
    "rollback": ("ganpress rollback", "ganpress rollback --recipe mnist"),
    "doctor": ("ganpress doctor", "ganpress doctor --fix"),
    "import": (
        "ganpress import resnet_9blocks --weights latest_net_G_A.pth --keys cyclegan",
        "ganpress import gen.py:build --weights g.pt --example-input 1x3x256x256",
    ),
}
"""Two example calls of each command, printed at the end of its help."""


def _examples(name: str) -> str:
    return "\n\n".join(("Examples:", *EXAMPLES[name]))


for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel, epilog=_examples(command.__name__))(command)
app.command(name="import", rich_help_panel=OWN, epilog=_examples("import"))(import_)
if isinstance(data, typer.Typer):
    app.add_typer(data, name="data", rich_help_panel="Run the chain")
if isinstance(remote, typer.Typer) and isinstance(show, typer.Typer):
    app.add_typer(show, name="show", rich_help_panel="Look at results", epilog=_examples("show"))
    app.add_typer(remote, name="remote", rich_help_panel="Ship and repair", epilog=_examples("remote"))


def main() -> None:
    """Run a command; an error that the user can fix ends in one line on stderr and exit code 2."""
    switch_off()
    try:
        code = app(standalone_mode=False)
    except typer.BadParameter as error:
        _refuse(quoted(error.format_message(), MAX_MESSAGE)[1:-1])
    except ClickException as error:  # An unknown option or command: typer prints its own message with the usage.
        from typer.rich_utils import rich_format_error

        rich_format_error(error)
        raise SystemExit(error.exit_code) from None
    except GanpressError as error:
        _refuse(str(error))
    except (KeyboardInterrupt, typer.Abort):
        print("ganpress: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # `ganpress status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        if error.errno not in OF_THE_USER:
            raise
        _refuse(f"{quoted(error.filename or 'a file')}: {error.strerror}; fix that and run again")
    except UnicodeError as error:
        _refuse(f"text that is not UTF-8 was found ({' '.join(str(error).split())[:200]}); write it in UTF-8")
    raise SystemExit(code if isinstance(code, int) else 0)


MAX_MESSAGE = 400
OF_THE_USER = frozenset({
    errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG,
    errno.ELOOP, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG,
})  # fmt: skip
"""System errors that are caused by a path or name from the user, or that only the user can fix."""


def _refuse(message: str) -> NoReturn:
    print(f"ganpress: {message}", file=sys.stderr)
    raise SystemExit(2) from None


if __name__ == "__main__":
    main()
