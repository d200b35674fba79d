"""Drawings as SVG and PNG."""

import re

from ganpress.report.figures.drawing import COLOURS, MARKER_PATHS, MARKERS, chart, finish
from ganpress.report.figures.quality_figures import GROUP_NAMES
from ganpress.report.page import TEMPLATES
from ganpress.report.pictures.image_strips import strip_png


def draw(name: str):
    with chart() as (figure, axes, hover):
        axes.plot([1, 2], [3, 4], color=COLOURS["student"], marker="o", gid=hover.id_for("two & <more>"))
        axes.set_xlabel("cost")
        return finish(figure, hover, name, "A title", "a caption")


def test_svg_takes_its_colours_from_the_page() -> None:
    svg = draw("one").svg
    assert "var(--student)" in svg
    assert "var(--muted)" in svg
    assert COLOURS["student"] not in svg


def test_svg_holds_no_address_and_no_foreign_namespace() -> None:
    svg = draw("one").svg
    assert "http" not in svg
    assert "xmlns" not in svg
    assert "metadata" not in svg


def test_ids_of_two_drawings_differ_and_references_resolve() -> None:
    ids = []
    for name in ("one", "two"):
        svg = draw(name).svg
        own = re.findall(r'\bid="([^"]+)"', svg)
        assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)) <= {
            pair for one in own for pair in ((one, ""), ("", one))
        }
        ids += own
    assert len(ids) == len(set(ids))


def test_marks_carry_their_hover_text() -> None:
    assert "<title>two &amp; &lt;more&gt;</title>" in draw("one").svg


def test_text_stays_text() -> None:
    assert ">cost</text>" in draw("one").svg


def test_png_has_the_drawing() -> None:
    assert draw("one").png.startswith(b"\x89PNG")


def test_every_group_has_colour_shape_and_name() -> None:
    css = (TEMPLATES / "report.css").read_text()
    for group, colour in COLOURS.items():
        assert f"--{group}: {colour}" in css
        assert css.count(f"--{group}: ") == 2, "light and dark"
    assert COLOURS.keys() == MARKERS.keys() == MARKER_PATHS.keys() == GROUP_NAMES.keys()


def test_strip_shows_the_images_side_by_side() -> None:
    import io

    import numpy as np
    from PIL import Image

    images = np.stack([np.full((3, 32, 32), value, np.uint8) for value in (10, 200)])
    pixels = np.asarray(Image.open(io.BytesIO(strip_png(images))))
    assert pixels.shape == (96, 96 + 6 + 96, 4)
    assert (pixels[:, :96] == [10, 10, 10, 255]).all()
    assert (pixels[:, 96:102, 3] == 0).all()
    assert (pixels[:, 102:] == [200, 200, 200, 255]).all()
    gray = np.asarray(Image.open(io.BytesIO(strip_png(images[:, :1]))))
    assert gray.shape == (96, 198, 2)
