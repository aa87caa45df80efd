"""The report as a reader has it: opened from a file in Chromium, searched, sorted, on a phone, in the dark."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slt_cache.report import write_report
from tests.browser.conftest import Seen
from tests.helpers.report_runs import SCORES, SENTENCES, add_model_and_cache, evaluate, make_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

pytestmark = pytest.mark.browser

MANY = 30
"""More rows than the page shows at once."""
PHONE: "ViewportSize" = {"width": 400, "height": 800}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the report of a run with both stages, a cache, another run beside it, and more clips than fit at once."""
    folder = tmp_path_factory.mktemp("runs")
    run, other = make_run(folder / "run"), make_run(folder / "other")
    add_model_and_cache(run)
    more = [(f"clip-{number}", "ein satz", " ".join(["satz"] * (1 + number % 3))) for number in range(MANY)]
    evaluate(run, "llm", "test", SCORES, [*SENTENCES, *more])
    return write_report(run, [other]).as_uri()


@pytest.fixture
def report(page: "Page", seen: Seen, address: str) -> "Page":
    page.goto(address)
    return page


def shown(page: "Page") -> list[str]:
    """Clips of the rows that are seen."""
    clips: list[str] = page.eval_on_selector_all(
        "table.clips tbody tr", "rows => rows.filter((row) => row.offsetHeight).map((row) => row.dataset.id)"
    )
    return clips


def test_it_opens_without_an_error_and_asks_nothing_of_the_network(report: "Page", seen: Seen, address: str) -> None:
    assert report.locator("h1").inner_text() == "run"
    report.get_by_role("button", name="show more").click()
    report.mouse.wheel(0, 100_000)
    report.wait_for_timeout(300)
    assert seen.errors == []
    assert seen.requests == [address]
    assert seen.outside == []


def test_all_pictures_are_there(report: "Page") -> None:
    sizes = report.eval_on_selector_all("img", "images => images.map((image) => image.naturalWidth)")
    assert len(sizes) == 3 + len(SENTENCES) and all(sizes)


def test_the_map_lies_column_by_column_under_the_filmstrip(report: "Page") -> None:
    row = report.locator('tr[data-id="film"]')
    strip, attention = (row.locator(kind).bounding_box() for kind in ("img.strip", "img.map"))
    assert strip and attention
    assert strip["x"] == attention["x"] and strip["width"] == attention["width"]
    assert attention["y"] >= strip["y"] + strip["height"]
    words = row.locator("li")
    first, last = words.first.bounding_box(), words.last.bounding_box()
    assert first and last
    assert abs(first["y"] - attention["y"]) < 2
    assert abs(last["y"] + last["height"] - attention["y"] - attention["height"]) < 2


def test_a_search_leaves_the_rows_that_hold_every_word(report: "Page") -> None:
    assert report.locator("#count").inner_text() == f"10 shown of {len(SENTENCES) + MANY}"
    report.get_by_label("Search sentences and clip names").fill("BERGEN morgen")
    assert shown(report) == ["frames"]
    report.get_by_label("Search sentences and clip names").fill("clip-7")
    assert shown(report) == ["clip-7"]
    report.get_by_label("Search sentences and clip names").fill("no such word")
    assert shown(report) == []
    assert report.locator("#count").inner_text() == "0 shown of 0"


def test_a_filter_leaves_sentences_with_differences(report: "Page") -> None:
    report.get_by_label("Which sentences").select_option("exact")
    assert shown(report) == ["film"]
    report.get_by_label("Which sentences").select_option("other")
    assert "film" not in shown(report) and len(shown(report)) == 10
    report.get_by_label("Which sentences").select_option("low")
    low = shown(report)
    report.get_by_label("Which sentences").select_option("high")
    assert "gone" in low and "film" in shown(report) and not set(low) & set(shown(report))


def test_rows_are_sorted_by_a_click_and_back(report: "Page") -> None:
    first = shown(report)
    assert first[0] == "film"
    report.get_by_role("button", name="BLEU").click()
    scores = report.eval_on_selector_all("table.clips tbody tr", "rows => rows.map((row) => Number(row.dataset.score))")
    assert scores == sorted(scores) and len(set(scores)) > 3
    assert report.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    report.get_by_role("button", name="BLEU").click()
    assert report.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert shown(report)[0] == "film"
    report.get_by_role("button", name="words").click()
    words = report.eval_on_selector_all("table.clips tbody tr", "rows => rows.map((row) => Number(row.dataset.words))")
    assert words == sorted(words) and report.locator("th[aria-sort]").count() == 1
    report.get_by_role("button", name="clip", exact=True).click()
    names = [clip_id for clip_id in shown(report) if clip_id.startswith("clip-")]
    assert names[:3] == ["clip-0", "clip-1", "clip-2"]  # by number, not clip-0, clip-1, clip-10
    report.get_by_role("button", name="best and worst first").click()
    assert shown(report) == first and report.locator("th[aria-sort]").count() == 0


def test_more_rows_are_shown_when_asked_for(report: "Page") -> None:
    assert len(shown(report)) == 10
    report.get_by_role("button", name="show more").click()
    assert len(shown(report)) == len(SENTENCES) + MANY
    assert not report.get_by_role("button", name="show more").is_visible()


def test_markup_in_a_sentence_stays_text(page: "Page", seen: Seen, address: str) -> None:
    alerts: list[str] = []
    page.on("dialog", lambda dialog: alerts.append(dialog.message))
    page.on("dialog", lambda dialog: dialog.dismiss())
    page.goto(address)
    row = page.locator('tr[data-id="<script>alert(1)</script>"]')
    assert "<script>alert(2)</script> & wind" in row.inner_text()
    assert page.locator("table script").count() == 0
    assert alerts == [] and seen.errors == []


def test_a_script_that_were_not_escaped_would_not_run(page: "Page", seen: Seen, address: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    text = Path(address.removeprefix("file://")).read_text(encoding="utf-8")
    broken.write_text(text.replace("<h2>Scores</h2>", "<h2 id=it>Scores</h2><script>it.remove()</script>"), "utf-8")
    page.goto(broken.as_uri())
    assert page.locator("#it").count() == 1
    assert any("Content Security Policy" in error for error in seen.errors)


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window(report: "Page", width: int) -> None:
    report.set_viewport_size({"width": width, "height": 800})
    report.get_by_role("button", name="show more").click()
    report.eval_on_selector_all("details", "all => all.forEach((one) => { one.open = true; })")
    assert report.evaluate("document.documentElement.scrollWidth") == width


def test_sorting_and_searching_work_on_a_phone(report: "Page") -> None:
    report.set_viewport_size(PHONE)
    report.get_by_role("button", name="BLEU").click()
    assert shown(report)[-1] != "film"
    report.get_by_label("Search sentences and clip names").fill("regnet norden")
    assert shown(report) == ["film"]


def test_light_and_dark_are_two_pages_to_the_eye(report: "Page") -> None:
    def brightness() -> float:
        colour = report.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3

    def contrast() -> float:
        colour = report.evaluate("getComputedStyle(document.body).color")
        return abs(sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 - brightness())

    report.emulate_media(color_scheme="light")
    light, light_ground, light_contrast = report.screenshot(), brightness(), contrast()
    report.emulate_media(color_scheme="dark")
    dark, dark_ground, dark_contrast = report.screenshot(), brightness(), contrast()
    assert light != dark
    assert light_ground > 220 and dark_ground < 40
    assert min(light_contrast, dark_contrast) > 150


def test_it_is_read_without_scripts_too(chromium: "Browser", address: str) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("table.clips tbody tr").count() == len(SENTENCES) + MANY
    assert page.locator("table.clips tbody tr").last.is_visible()
    assert not page.locator("#tools").is_visible()
    context.close()
