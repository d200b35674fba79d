"""The pages of the documentation: they build, their links are valid, and pages made from code are up to date."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from docs.site.reference_pages import pages
from flows.__main__ import EXAMPLES, app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")
COMMAND = re.compile(r"(?<![\w/.-])ganpress ([a-z]+)")
MODULE = re.compile(r"python -m (benchmarks\.\w+|docs\.[\w.]+)")


def test_the_readme_is_short_and_its_commands_come_first():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.encode()) < 9_000
    places = [place for place, line in enumerate(text.splitlines(), 1) if line.startswith("    python3 -m pip")]
    assert len(places) == 2
    assert max(places) <= 30


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = [link for link, _ in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_commands_that_the_pages_name_exist():
    known = set(typer.main.get_command(app).commands)
    named = {word for page in PAGES for code in code_of(page) for word in COMMAND.findall(code)}
    assert named - known == set()
    assert {"run", "compress", "apply"} <= named


def code_of(page):
    """Commands in a page: between backticks, and indented lines."""
    text = page.read_text(encoding="utf-8")
    yield from re.findall(r"`([^`\n]+)`", text)
    yield from (line for line in text.splitlines() if line.startswith("    ganpress "))


def test_modules_that_the_pages_run_exist():
    named = {name for page in PAGES for name in MODULE.findall(page.read_text(encoding="utf-8"))}
    assert len(named) > 15
    places = {name: ROOT / name.replace(".", "/") for name in named}
    assert [name for name, place in places.items() if not (place.with_suffix(".py").is_file() or place.is_dir())] == []


@pytest.mark.parametrize("name", ["parameters.md", "commands.md", "library.md"])
def test_pages_that_are_made_from_code_are_as_the_code(name):
    found = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert found == pages()[name], "run `python -m docs.site.reference_pages`"


def test_every_parameter_has_a_type_and_a_default():
    rows = [line for line in pages()["parameters.md"].splitlines() if line.startswith("| `")]
    assert len(rows) > 200
    assert all(row.count(" | ") >= 3 for row in rows)


def test_every_page_stands_in_the_menu():
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = set(re.findall(r"[\w/]+\.md", str(menu)))
    assert listed == {page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]}


def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    text = (tmp_path / "site" / "reference" / "library" / "index.html").read_text(encoding="utf-8")
    assert "size_bytes_before" in text  # docstrings were read


@pytest.mark.parametrize("name", sorted(typer.main.get_command(app).commands))
def test_examples_of_a_command_are_its_own_and_parse(name):
    command = group = typer.main.get_command(app).commands[name]
    if name == "data":  # a group
        return
    assert len(EXAMPLES[name]) == 2
    for example in EXAMPLES[name]:
        program, first, *arguments = shlex.split(example)
        assert (program, first) == ("ganpress", name)
        if hasattr(command, "commands"):  # a group: the command below it
            command, arguments = group.commands[arguments[0]], arguments[1:]
        assert command.make_context(name, arguments, resilient_parsing=True).params
        known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        assert [word for word in arguments if word.startswith("-") and word not in known] == []
