"""The report as a comment of a pull request: verdict, table, gains and pictures, cut out of the report in Markdown."""

from pathlib import Path

FOLDER = "artifacts/report"
CHAPTERS = ("Generators", "What each step gains", "The same ")
"""Beginnings of the headings of the chapters that a comment holds, after what stands before the first heading."""


def comment_of(report: Path) -> str:
    """Return the comment, with paths of pictures and files as they are seen from the project's root.

    Args:
        report: the report in Markdown.
    """
    head, *chapters = report.read_text(encoding="utf-8").split("\n## ")
    kept = [f"## {chapter}" for chapter in chapters if chapter.startswith(CHAPTERS)]
    text = "\n".join([head, *kept]).rstrip() + "\n"
    return text.replace("](pictures/", f"]({FOLDER}/pictures/").replace("](../", "](artifacts/")
