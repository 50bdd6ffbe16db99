"""The HTML page: every figure is on it, nothing of data runs, nothing is loaded from outside."""

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from math import exp, hypot
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import job_results, make_plan, make_result, three_results
from tests.conftest import GOLDEN
from tests.each import check_each
from tests.pure.reports.samples import SAMPLES, report_of
from trnbench.reports import offers, render, text_formats
from trnbench.reports.as_html import FOLDER, sort_value
from trnbench.reports.axes import logarithmic_ticks
from trnbench.reports.backing import backing_of
from trnbench.reports.columns import row
from trnbench.reports.document import Page
from trnbench.reports.offers import Offered
from trnbench.reports.results import REPORT
from trnbench.run.results import load_result
from trnbench.schema.result import MetricValue, Result
from trnbench.units import say_change

PAGE = Page()
VOID = {"meta", "input", "br"}
OPTIONAL_END = {"td", "tr"}


class Reader(HTMLParser):
    """Reads a page as a browser does: elements, attributes, texts, and what was left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.heads = 0
        self.widths: list[tuple[int, int]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "thead":
            self.heads = 0
        elif tag == "th":
            self.heads += 1
        elif tag == "tr":
            self.widths.append((self.heads, 0))
        elif tag == "td":
            self.widths[-1] = (self.heads, self.widths[-1][1] + 1)
        if tag not in VOID | OPTIONAL_END:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in OPTIONAL_END:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def page_of(results: list[Result]) -> str:
    return render(REPORT, results, "html", PAGE)


def named(name: str) -> Result:
    sample = make_result()
    model = sample.model.model_copy(update={"name": name})
    return sample.model_copy(update={"model": model, "run_id": name, "price_reason": name})


@pytest.mark.parametrize("results", [three_results(), job_results(), [make_result()]])
def test_every_figure_of_the_json_is_on_the_page(results: list[Result]) -> None:
    texts = {text.strip() for text in Reader(page_of(results)).texts}
    figures = [(name, v) for each in results for name, v in row(each).items() if v is not None]
    assert len(figures) > 60
    missing = [(n, v) for n, v in figures if not isinstance(v, str) and str(v) not in texts]
    assert not missing


def test_every_report_is_one_whole_page() -> None:
    def check(name: str) -> None:
        reader = Reader(render(report_of(name), SAMPLES[name], "html", PAGE))
        assert reader.tags.count("h1") == reader.tags.count("main") == 1
        rows = [(heads, cells) for heads, cells in reader.widths if cells]
        assert all(heads == cells for heads, cells in rows)

    check_each([*SAMPLES], check)


def test_the_page_names_nothing_outside_itself() -> None:
    def check(name: str) -> None:
        reader = Reader(render(report_of(name), SAMPLES[name], "html", PAGE))
        loading = {"src", "href", "srcset", "action", "data", "style", "poster", "background"}
        assert not [each for each in reader.attributes if each[1] in loading]
        assert not {"link", "img", "iframe", "object", "base", "form"} & set(reader.tags)

    check_each([*SAMPLES], check)


def test_the_policy_allows_the_pages_own_style_and_script_alone() -> None:
    text = page_of(three_results())
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["style-src"] == "'unsafe-inline'"
    (own,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    packed = re.findall('<script type="text/plain" class="library">(.*?)</script>', text)
    scripts = [own.encode(), *(gzip.decompress(base64.b64decode(each)) for each in packed)]
    assert len(scripts) == 5
    digests = (base64.b64encode(hashlib.sha256(each).digest()).decode() for each in scripts)
    assert rules["script-src"] == " ".join(f"'sha256-{each}'" for each in digests)
    (style,) = re.findall("<style>(.*?)</style>", text, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style


def test_a_page_has_the_libraries_that_it_uses_with_their_licences() -> None:
    known = json.loads((FOLDER / "libraries.json").read_text())
    for library in known.values():
        assert library["version"] in library["notice"]
        assert "opyright" in (FOLDER / f"LICENSE.{library['package']}.txt").read_text()
    whole = page_of(three_results())
    assert all(library["notice"] in whole for library in known.values())
    without_chart = render(report_of("models"), SAMPLES["models"], "html", PAGE)
    assert known["datatables"]["notice"] in without_chart
    assert known["vega"]["notice"] not in without_chart


PLAIN = Reader(page_of([named("plain"), make_result()]))


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>", "</title></style></script><img src=x onerror=alert(1)>",
        '" onmouseover="alert(1)', "'><svg/onload=alert(1)>", "&lt;b&gt;", "<!-- ", "]]>",
        "نموذج-8b", "שלום", "🧪 emoji",
    ],
)  # fmt: skip
def test_a_name_is_shown_as_it_is_and_adds_no_element(name: str) -> None:
    reader = Reader(page_of([named(name), make_result()]))
    assert reader.tags == PLAIN.tags
    events = [each for _, each, _ in reader.attributes if each.startswith("on")]
    assert not events
    assert name in reader.text


@given(st.text(st.sampled_from([*"<>&\"'=/! -ab`\x00\x1b\r\n\u202e\u2028\ufeff"]), min_size=1))
def test_no_text_becomes_markup_or_steers_the_page(text: str) -> None:
    page = page_of([named(f"x{text}x"), make_result()])
    assert Reader(page).tags == PLAIN.tags
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e\ufeff]", page)


def test_a_price_option_repeats_its_model_in_every_row_so_that_rows_can_be_sorted() -> None:
    result = make_result()
    text = render(offers.REPORT, [Offered("a", result), Offered("b", result)], "html", PAGE)
    assert text.count("<td>tiny-llama (894k) 8x128 fp32") == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20,480 [20,280, 20,683]", 20_480), ("50.00 [49.51, 50.49] ms", 0.05), ("1.2 s", 1.2),
        ("50 ms [no interval]", 0.05), ("512 MiB", 2**29), ("81.5 %", 81.5), ("-2.13 %", -2.13),
        ("$0.04883 [0.04835, 0.04931]", 0.04883), ("$3.6/h", 3.6), ("8.03 B", 8.03e9),
        ("393 TFLOP/s", 3.93e14), ("305 to 458", 305), ("—", None), ("none", None), ("", None),
    ],
)  # fmt: skip
def test_figures_sort_by_what_they_are_in_base_units(text: str, value: float | None) -> None:
    assert sort_value(text) == (value if value is None else pytest.approx(value))


# --- the answer and the charts --------------------------------------------------------------------


def priced(speed: float, spread: float, usd_per_hour: str = "3.6", **changes: Any) -> Result:
    """Return a result of this speed with an interval of this relative half-width."""
    result = make_result(make_plan({"price.usd_per_hour": usd_per_hour}))
    usd = float(usd_per_hour)

    def around(value: float) -> MetricValue:
        return MetricValue(value=value, low=value * exp(-spread), high=value * exp(spread))

    metrics = {
        **result.metrics,
        "tokens_per_second": around(speed),
        "tokens_per_usd": around(speed * 3600 / usd),
        "usd_per_million_tokens": around(usd / 3600 / speed * 1e6),
    }
    return result.model_copy(update={"metrics": metrics, "run_id": f"run-{speed:g}", **changes})


def answer(*results: Result) -> str:
    return " ".join(backing_of(results).answer)


def test_the_answer_says_what_trains_most_per_dollar_by_how_much_and_how_sure() -> None:
    said = answer(priced(1000, 0.01), priced(1500, 0.01, "3.6"), priced(2000, 0.01, "7.2"))
    assert "trains the most tokens per dollar: 1.5 M [1.49 M, 1.52 M], at $3.6/h" in said
    low, high = 1.5 * exp(-hypot(0.01, 0.01)), 1.5 * exp(hypot(0.01, 0.01))
    assert f"is +50.0 % [{say_change(low - 1)}, {say_change(high - 1)}] (95 % interval)." in said
    assert "It rests on 1 launch; what differs between launches is not in its interval." in said


def test_the_answer_does_not_choose_between_two_that_the_intervals_do_not_tell_apart() -> None:
    said = answer(priced(1000, 0.05), priced(1010, 0.05))
    assert "cannot be told apart from it: the lead is +1.00 % [-5.9" in said


def test_the_answer_says_nothing_of_what_has_no_price_or_must_not_be_used() -> None:
    assert not answer(three_results()[1])
    assert "run-9000" not in answer(priced(9000, 0.01, standing="invalid"), priced(1000, 0.01))
    assert "trains 1 M [990 k, 1.01 M] tokens per dollar, at $3.6/h" in answer(priced(1000, 0.01))
    bare = {"low": None, "high": None}
    unsure = priced(2000, 0.01)
    metrics = {k: v.model_copy(update=bare) for k, v in unsure.metrics.items()}
    without = unsure.model_copy(update={"metrics": metrics})
    assert "is +100 %; one of the two has no interval" in answer(without, priced(1000, 0.01))


def test_other_work_has_an_answer_of_its_own() -> None:
    other = named("other").model_copy(update={"metrics": priced(1000, 0.01).metrics})
    assert len(backing_of([priced(1000, 0.01), other]).answer) == 2


def test_only_a_page_makes_what_only_a_page_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(results: object, traces: object) -> None:
        raise AssertionError

    monkeypatch.setattr("trnbench.reports.backing.backing_of", refuse)
    for name in text_formats():
        if name != "html":
            render(REPORT, [make_result()], name, PAGE)
    with pytest.raises(AssertionError):
        render(REPORT, [make_result()], "html", PAGE)


def test_a_chart_has_each_result_once_and_joins_those_that_no_other_beats() -> None:
    results = [priced(1000, 0.02), priced(2000, 0.02, "9"), priced(900, 0.02, "9")]
    made = {chart.name.partition("-tiny")[0]: chart for chart in backing_of(results).charts}
    assert [each["x"] for each in made["speed"].data] == [2000, 1000, 900]
    assert {each["x"] for each in made["cost-against-speed"].data if each["best"]} == {1000, 2000}
    paid = [(each["part"], each["x"]) for each in made["price"].data]
    assert paid[0] == ("paid", 3.6)
    assert paid[1:3] == [("paid", 9.0), ("as good as the first", pytest.approx(7.2))]


def test_a_charts_figures_are_on_the_page_as_a_table_and_its_specification_as_data() -> None:
    text = page_of([priced(1234.5, 0.02), priced(2000, 0.02, "9")])
    assert "<td>1234.5" in text
    specs = re.findall('<script type="application/json">(.*?)</script>', text)
    assert [each["x"] for each in json.loads(specs[0])["data"]["values"]] == [2000, 1234.5]


@given(st.floats(1e-9, 1e12), st.floats(1.0001, 1e6))
def test_ticks_are_few_and_reach_around_the_figures(low: float, factor: float) -> None:
    high = low * factor
    ticks = logarithmic_ticks(low, high)
    assert ticks == sorted(set(ticks))
    assert 1 < len(ticks) <= 9
    assert ticks[0] <= low * (1 + 1e-9)
    assert ticks[-1] >= high * (1 - 1e-9)


def test_pages_keep_to_their_sizes() -> None:
    base = three_results()
    results = [
        base[n % 3].model_copy(update={"run_id": f"run-{n}", "case_id": f"case-{n}"})
        for n in range(1000)
    ]
    assert len(page_of(results[:50]).encode()) < 1e6
    assert len(page_of(results).encode()) < 5e6


def test_a_result_of_an_older_format_is_on_a_page_beside_a_new_one() -> None:
    cases = sorted((GOLDEN / "schema" / "v1").iterdir())
    old = [load_result(case) for case in cases]
    text = page_of([*old, make_result()])
    assert len(old) == 2
    assert all(each.model.name in text for each in old)


def test_a_ranking_begins_with_the_first_and_its_lead() -> None:
    ranked = SAMPLES["ranking"]
    text = Reader(render(report_of("ranking"), ranked, "html", PAGE)).text
    first, second = ranked.rankings[0].rows[:2]
    lead = second.value.value / first.value.value - 1
    assert "llama3-8b, 8192 tokens a sequence: trn2, bf16 (measured) is first by usd_per_" in text
    assert f"The lead over the next, h100, fp8 (published), is {say_change(lead)};" in text
    assert "Cost against speed: llama3-8b, 8192 tokens a sequence" in text


def test_launches_are_drawn_where_a_case_has_more_than_one() -> None:
    result = make_result()
    (launch,) = result.launches
    slower = launch.model_copy(update={"step_time_mean_seconds": 0.06, "standard_error": None})
    twice = result.model_copy(update={"launches": (launch, slower)})
    charts = backing_of([result, twice]).charts
    (chart,) = (each for each in charts if each.name == "launches")
    first, second = chart.data
    assert [first["x"], second["x"]] == [launch.step_time_mean_seconds, 0.06]
    assert launch.standard_error is not None
    assert launch.step_time_mean_seconds is not None
    width = 2 * 1.959964 * launch.standard_error * launch.step_time_mean_seconds
    high, low = first["high"], first["low"]
    assert isinstance(high, float)
    assert isinstance(low, float)
    assert high - low == pytest.approx(width)
    assert second["low"] is None
