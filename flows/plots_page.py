"""The page of DVC's plots without the network: DVC's own page loads Vega from a server of others.

`vl-convert-python` (extra `plots`) brings Vega's program as text, which goes into the template of the page.
"""

import subprocess
import sys
from pathlib import Path

from ganpress.basics.whole_files import write_whole
from ganpress.errors import ConfigError, GanpressError, shown

TEMPLATE = ".ganpress/plots.html"
PAGE = "dvc_plots"
OPTION = "plots.html_template"
SCRIPT = "window.vegaEmbed = vegaEmbed;"
"""What DVC's page calls; inside a bundle of `vl_convert`, Vega's programs have their own names."""
HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{{refresh_tag}}
<title>DVC plots</title>
<style>table {{ border-spacing: 15px; }} body {{ font-family: system-ui, sans-serif; }}</style>
<script>
{program}
</script>
</head>
<body>
{{plot_divs}}
</body>
</html>
"""


def write_plots(root: Path, revisions: list[str]) -> Path:
    """Write the page of `dvc plots diff` and return its path; from then on `dvc plots` writes it so in this checkout.

    Raises:
        ConfigError: if the extra `plots` is missing, or DVC refuses, e.g. a revision that it does not know.
    """
    template = root / TEMPLATE
    template.parent.mkdir(exist_ok=True)
    write_whole(template, HTML.format(program=_program()))
    _dvc(root, "config", "--local", OPTION, f"../{TEMPLATE}")
    _dvc(root, "plots", "diff", "--out", PAGE, *revisions)
    return root / PAGE / "index.html"


def _program() -> str:
    try:
        import vl_convert
    except ModuleNotFoundError:
        raise ConfigError(
            "plots without the network need Vega: uv pip install vl-convert-python (the extra `plots`)"
        ) from None
    # A `</script>` inside a text of the program would end it.
    return str(vl_convert.javascript_bundle(SCRIPT)).replace("</script", "<\\/script")


def _dvc(root: Path, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise _failure(arguments[0], last)


def _failure(command: str, line: str) -> GanpressError:
    return ConfigError(f"`dvc {command}` failed: {shown(line.removeprefix('ERROR: '))}")
