"""`ganpress report`."""

from typing import Annotated

import typer

from flows.options import Recipe, Settings


def report(
    open_: Annotated[bool, typer.Option("--open", help="Open the report in the browser.")] = False,
    comment: Annotated[
        bool, typer.Option("--comment", help="Print a comment for a pull request: verdict, table and pictures.")
    ] = False,
    recipe: Recipe = None,
    set_: Settings = None,
) -> None:
    """Print where the report of the last run is. It says which file to ship, how good the file is, what it cost and
    how certain that is.
    """
    from flows.environment import find_root
    from flows.worktree import find_workspace
    from ganpress.errors import DataError

    root = find_root()
    workspace = find_workspace(root, recipe, set_ or ()).root if recipe or set_ else root
    page = workspace / "artifacts" / "report" / "report.html"
    if not page.is_file():
        raise DataError(f"{page} does not exist; `ganpress run` writes it")
    if comment:
        from flows.report_comment import comment_of

        typer.echo(comment_of(page.with_suffix(".md")), nl=False)
        return
    typer.echo(page)
    if open_:
        import webbrowser

        if not webbrowser.open(page.as_uri()):
            raise DataError(f"no browser could be started; open {page} by hand")
