"""The command line: `ganpress …`, the same as `python -m flows …`."""

import errno
import os
import sys
from typing import Any, NoReturn

import typer

from flows.commands.apply import apply
from flows.commands.compare import compare
from flows.commands.compress_directly import compress
from flows.commands.cost import cost
from flows.commands.data import data
from flows.commands.demo import demo
from flows.commands.doctor import doctor
from flows.commands.import_ import import_
from flows.commands.promote import promote, rollback
from flows.commands.report import report
from flows.commands.run import run
from flows.commands.serve import serve
from flows.commands.status import status
from flows.commands.targets import targets
from flows.commands.ui import ui
from ganpress.basics.telemetry import switch_off
from ganpress.config.yaml_text import quoted
from ganpress.errors import GanpressError

ClickException: Any = typer.BadParameter.__mro__[2]
"""Base of all wrong usage; typer carries click along under a private name."""
app = typer.Typer(
    name="ganpress",
    help="From versioned data to a compressed edge generator, with proof.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (
    run,
    status,
    report,
    compare,
    compress,
    apply,
    ui,
    doctor,
    cost,
    targets,
    serve,
    demo,
    promote,
    rollback,
):
    app.command()(command)
app.command(name="import")(import_)
if isinstance(data, typer.Typer):
    app.add_typer(data, name="data")


def main() -> None:
    """Run a command; what the user can mend is one line on stderr and exit code 2."""
    switch_off()
    try:
        code = app(standalone_mode=False)
    except typer.BadParameter as error:
        _refuse(quoted(error.format_message(), MAX_MESSAGE)[1:-1])
    except ClickException as error:  # an unknown option or command: typer's own words, with the usage
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
        _refuse(f"{quoted(error.filename or 'a file')}: {error.strerror}; mend that and run again")
    except UnicodeError as error:
        _refuse(f"text that is not UTF-8 was found ({' '.join(str(error).split())[:200]}); write it in UTF-8")
    raise SystemExit(code if isinstance(code, int) else 0)


MAX_MESSAGE = 400
OF_THE_USER = frozenset({
    errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG,
    errno.ELOOP, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG,
})  # fmt: skip
"""Errors of the system that come from a place or name that the user gave, or that only the user can mend."""


def _refuse(message: str) -> NoReturn:
    print(f"ganpress: {message}", file=sys.stderr)
    raise SystemExit(2) from None


if __name__ == "__main__":
    main()
