"""Writes the gate's verdict as one HTML page that needs no network."""

import base64
import html
import io
from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ganpress.data.raw.raw_images import RawImages
from ganpress.errors import DataError

if TYPE_CHECKING:
    from ganpress.data.gate.expectations import CheckResult
    from ganpress.data.gate.validation import ValidationResult

MAX_THUMBNAILS = 24
MAX_LISTED = 50
THUMBNAIL_PIXELS = 96
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1f23; }
table { border-collapse: collapse; margin: 1rem 0; width: 100%; }
th, td { text-align: left; padding: .35rem .7rem; border-bottom: 1px solid #d9dde2; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.passed { color: #176b3a; font-weight: 600; } .failed { color: #b3261e; font-weight: 600; }
figure { display: inline-block; margin: .4rem; width: 8rem; font-size: 12px; overflow-wrap: anywhere; }
img { width: 96px; height: 96px; object-fit: contain; image-rendering: pixelated; background: #f0f2f4; }
code { font-size: 13px; overflow-wrap: anywhere; }
"""


def thumbnails(raw: RawImages, names: Set[str]) -> dict[str, bytes]:
    """Return PNG files of up to 24 of the named images that can be decoded; decodes no others."""
    found: dict[str, bytes] = {}
    if not names:
        return found
    for image in raw:
        if image.path in names:
            try:
                pixels = image.decode()
            except DataError:
                continue
            small = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
            small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
            content = io.BytesIO()
            small.save(content, "png")
            found[image.path] = content.getvalue()
            if len(found) == MAX_THUMBNAILS:
                break
    return found


def write_page(path: Path, result: "ValidationResult", pictures: Mapping[str, bytes]) -> None:
    """Write the page: verdict, counts, one row for each check, offending images by name and picture."""
    verdict = _verdict(result.success)
    title = f"Data gate: {html.escape(result.source)}"
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{STYLE}</style>",
        f"<h1>{title} {verdict}</h1>",
        "<h2>Images</h2>" + _count_table("split", result.counts),
        "<h2>Checks</h2>" + _check_table(result),
        *(_offender_section(check, pictures) for check in result.checks if check.offenders),
    ]
    if result.class_counts:
        parts.append("<h2>Training images of each class</h2>" + _count_table("class", result.class_counts))
    path.write_text("\n".join(parts) + "</html>\n", encoding="utf-8")


def _verdict(success: bool) -> str:
    return "<span class='passed'>passed</span>" if success else "<span class='failed'>failed</span>"


def _count_table(heading: str, counts: Mapping[str, int]) -> str:
    rows = "".join(f"<tr><td>{html.escape(name)}<td class='number'>{count:,}" for name, count in counts.items())
    return f"<table><tr><th>{heading}<th class='number'>images{rows}</table>"


def _check_table(result: "ValidationResult") -> str:
    rows = "".join(
        f"<tr><td><code>{check.name}</code><td>{_verdict(check.success)}<td>{html.escape(check.limit)}"
        f"<td class='number'>{check.unexpected:,} of {check.examined:,}"
        if check.success or check.unexpected
        else f"<tr><td><code>{check.name}</code><td>{_verdict(False)}<td>{html.escape(check.limit)}"
        f"<td class='number'>{check.examined:,} found"
        for check in result.checks
    )
    return f"<table><tr><th>check<th>verdict<th>allowed<th class='number'>breaking the rule{rows}</table>"


def _offender_section(check: "CheckResult", pictures: Mapping[str, bytes]) -> str:
    shown = [name for name in check.offenders if name in pictures]
    figures = "".join(
        f"<figure><img alt='' src='data:image/png;base64,{base64.b64encode(pictures[name]).decode()}'>"
        f"<figcaption>{html.escape(name)}</figcaption></figure>"
        for name in shown
    )
    listed = "".join(f"<li><code>{html.escape(name)}</code>" for name in check.offenders[:MAX_LISTED])
    more = check.unexpected - min(len(check.offenders), MAX_LISTED)
    rest = f"<p>and {more:,} more; up to 1,000 are named in validation.json.</p>" if more > 0 else ""
    return f"<h3><code>{check.name}</code>: {check.unexpected:,}</h3>{figures}<ul>{listed}</ul>{rest}"
