"""The report breaks no serious rule of accessibility, in either colour scheme, on a phone and on a laptop."""

import pytest

from ganpress.report.page import build_report

SERIOUS = ("serious", "critical")

pytestmark = pytest.mark.slow  # starts a browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1366])
def test_report_breaks_no_serious_rule(inputs, chromium, tmp_path, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe: uv sync --group dev")
    path = tmp_path / "report.html"
    path.write_text(build_report(inputs).html, encoding="utf-8")
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(path.as_uri())
    for folded in page.query_selector_all("details"):
        folded.evaluate("element => { element.open = true }")
    found = axe.Axe().run(page).response["violations"]
    page.close()
    told = [(one["id"], one["impact"], [node["html"][:160] for node in one["nodes"]][:3]) for one in found]
    assert [one for one in told if one[1] in SERIOUS] == []


def test_on_a_phone_pictures_come_before_the_numbers(inputs, chromium, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(build_report(inputs).html, encoding="utf-8")
    tops = {}
    for width in (390, 1366):
        page = chromium.new_page(viewport={"width": width, "height": 844})
        page.goto(path.as_uri())
        tops[width] = [page.locator(part).first.bounding_box()["y"] for part in ("header .strips", ".tiles", ".words")]
        page.close()
    pictures, tiles, words = tops[390]
    assert pictures < tiles < words
    pictures, tiles, words = tops[1366]
    assert tiles < pictures < words
