"""The HTML page in a real browser: it opens from disk, sorts, filters, and asks for nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import make_result, three_results
from tests.process.reports.browser import Browser, find_browser
from trnbench.reports import render
from trnbench.reports.columns import row
from trnbench.reports.document import Page
from trnbench.reports.results import REPORT
from trnbench.schema.result import Result

BROWSER = find_browser()
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium here; on Debian and Ubuntu: apt install chromium"
)
EVIL = "</script><script>console.log(1)</script><img src=x onerror=alert(1)>\u202e🧪 نموذج"
FIRST_TABLE = "document.querySelector('table.cards')"


def column(heading: str) -> str:
    """Return the number of a column of the first table: some are there only where rows differ."""
    heads = f"[...{FIRST_TABLE}.tHead.rows[0].cells]"
    return f"{heads}.findIndex(h => h.innerText.startsWith('{heading}'))"


def head(heading: str) -> str:
    return f"{FIRST_TABLE}.tHead.rows[0].cells[{column(heading)}]"


MODELS = f"[...{FIRST_TABLE}.tBodies[0].rows].map(r => r.cells[{column('model')}].innerText)"
INFO = "document.querySelector('.dt-info').innerText"
FIELD = "document.querySelector('.dt-search input')"


def results() -> list[Result]:
    sample = make_result()
    evil = sample.model.model_copy(update={"name": EVIL})
    return [*three_results(), sample.model_copy(update={"model": evil, "run_id": EVIL})]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("page")
    file = folder / "results.html"
    file.write_text(render(REPORT, results(), "html", Page()), encoding="utf-8")
    assert BROWSER is not None
    with Browser(BROWSER, folder / "profile") as browser:
        browser.open(file)
        yield browser
        assert browser.complaints == []
        assert browser.requests == [file.as_uri()]


def test_the_script_ran_and_nothing_of_a_name_did(page: Browser) -> None:
    assert page.run("document.documentElement.className") == "ready"
    assert page.run("[...document.scripts].filter(s => !s.type).length") == 5  # ours, 4 libraries
    assert page.run("document.querySelectorAll('.chart svg').length") == 2
    assert page.run("document.images.length") == 0


def test_every_figure_of_the_json_can_be_read_on_the_page(page: Browser) -> None:
    page.run("document.querySelector('details.all').open = true")
    seen = {*page.run("document.body.innerText").replace("\t", "\n").split("\n")}
    figures = {str(v) for each in results() for v in row(each).values() if isinstance(v, float)}
    page.run("document.querySelector('details.all').open = false")
    assert len(figures) > 40
    assert not figures - {text.strip() for text in seen}


def test_every_figure_of_a_chart_is_in_the_table_under_it(page: Browser) -> None:
    page.run("document.querySelectorAll('figure details').forEach(d => d.open = true)")
    tables = page.run("[...document.querySelectorAll('figure details')].map(d => d.innerText)")
    page.run("document.querySelectorAll('figure details').forEach(d => d.open = false)")
    speeds = {each.metrics["tokens_per_second"].value for each in results()} - {None}
    assert all(str(speed) in tables[0] for speed in speeds)


def test_a_screen_reader_finds_each_point_by_its_name(page: Browser) -> None:
    labels = "[...document.querySelectorAll('.chart [role=graphics-symbol]')].map(p => p.ariaLabel)"
    found = page.run(labels)
    assert any(each.startswith("tiny-gpt2 (790k) 8x128 fp32 on AMD EPYC") for each in found if each)


def test_pointing_at_a_point_shows_its_text_and_runs_none_of_it(page: Browser) -> None:
    point = "document.querySelectorAll('.chart path[aria-roledescription=point]')"
    assert page.run(f"{point}.length") == 3
    for number in range(3):
        x, y = page.run(
            f"{{const p = {point}[{number}]; p.scrollIntoView({{block: 'center'}});"
            "const b = p.getBoundingClientRect(); [b.x + b.width / 2, b.y + b.height / 2]}"
        )
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        page.wait_until("document.querySelector('#vg-tooltip-element.visible')")
    assert page.run("document.images.length") == 0


def test_a_heading_sorts_by_the_keyboard_and_leaves_the_unknown_last(page: Browser) -> None:
    page.run(f"{head('tokens/s')}.querySelector('[role=button]').focus()")
    cells = f"[...{FIRST_TABLE}.tBodies[0].rows].map(r => r.cells[{column('tokens/s')}].innerText)"
    speeds = f"{cells}.map(text => text.split(' ')[0])"
    sorted_by = f"{FIRST_TABLE}.querySelector('[aria-sort]')"
    page.press("Enter", 13, "\r")
    page.wait_until(f"{sorted_by}?.ariaSort == 'ascending'")
    assert page.run(speeds) == ["20,480", "20,480", "20,945", "—"]
    page.press("Enter", 13, "\r")
    page.wait_until(f"{sorted_by}?.ariaSort == 'descending'")
    assert page.run(speeds) == ["20,945", "20,480", "20,480", "—"]


def test_the_filter_leaves_the_rows_that_have_every_word(page: Browser) -> None:
    page.run(f"{FIELD}.focus()")
    page.call("Input.insertText", text="fp32 GPT2")
    assert len(page.run(MODELS)) == 1
    assert "tiny-gpt2" in page.run(MODELS)[0]
    assert page.run(INFO) == "1 to 1 of 1 rows that match, of 4"
    page.run(f"{FIELD}.value = ''")
    page.call("Input.insertText", text=" ")
    assert len(page.run(MODELS)) == 4


@pytest.mark.parametrize("width", [360, 820, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_width_makes_the_page_scroll_sideways(page: Browser, width: int, scheme: str) -> None:
    page.resize(width)
    page.emulate(scheme=scheme)
    assert page.run("document.documentElement.scrollWidth") <= width
    colours = page.run(
        "[getComputedStyle(document.body).backgroundColor,"
        " getComputedStyle(document.querySelector('.chart svg text')).fill]"
    )
    assert colours[0] == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 27)")
    assert colours[0] != colours[1]


def test_paper_has_every_row_and_no_control(page: Browser) -> None:
    page.resize(1280)
    page.emulate(media="print", scheme="dark")
    assert len(page.run(MODELS)) == 4
    row = "document.querySelector('.dt-search').closest('.dt-layout-row')"
    assert page.run(f"getComputedStyle({row}).display") == "none"
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert len(page.call("Page.printToPDF")["data"]) > 10_000


def test_a_browser_that_is_sent_elsewhere_is_refused(page: Browser) -> None:
    """The policy, not the lack of a network, keeps what is outside away."""
    script = (
        "window.refused = []; addEventListener('securitypolicyviolation', e => refused.push("
        "e.effectiveDirective)); const i = document.createElement('img'); i.src = 'data:,x';"
        "document.body.append(i); const s = document.createElement('script');"
        "s.textContent = 'window.ran = 1'; document.body.append(s); i.remove(); s.remove(); 0"
    )
    page.run(script)
    page.call("Runtime.evaluate", expression="new Promise(r => setTimeout(r))", awaitPromise=True)
    assert page.run("window.ran") is None
    assert {"img-src", "script-src-elem"} <= {*page.run("window.refused")}
    assert page.complaints
    page.complaints.clear()
    page.requests.remove("data:,x")


def test_a_thousand_rows_are_reached_by_the_filter_a_button_and_paper(
    page: Browser, tmp_path: Path
) -> None:
    sample = make_result()
    many = [sample.model_copy(update={"run_id": f"run-{n}"}) for n in range(250)]
    names = [each.model.model_copy(update={"name": f"m{n:04}"}) for n, each in enumerate(many)]
    rows = [
        each.model_copy(update={"model": model}) for each, model in zip(many, names, strict=True)
    ]
    file = tmp_path / "many.html"
    file.write_text(render(REPORT, rows, "html", Page()), encoding="utf-8")
    page.emulate()
    page.open(file)
    page.requests.remove(file.as_uri())
    assert len(page.run(MODELS)) == 100
    assert page.run(INFO) == "1 to 100 of 250 rows"
    for order in ("ascending", "descending"):
        page.run(f"{head('model')}.click()")
        page.wait_until(f"{head('model')}.ariaSort == '{order}'")
    assert page.run(MODELS)[0].startswith("m0249")
    page.run(f"{FIELD}.focus()")
    page.call("Input.insertText", text="m0007")
    assert len(page.run(MODELS)) == 1
    page.run(f"{FIELD}.select()")
    page.call("Input.insertText", text="m0")
    page.run("[...document.querySelectorAll('.dt-paging button')].at(-3).click()")
    assert page.run(INFO) == "201 to 250 of 250 rows"
    page.open(file)
    page.requests.remove(file.as_uri())
    assert len(page.run(MODELS)) == 100
    page.call("Page.printToPDF")
    assert len(page.run(MODELS)) == 250
