"""Any report in any format, and each part in each layout."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.each import check_each
from tests.pure.reports.samples import SAMPLES, report_of
from trnbench import reports
from trnbench.cli import options
from trnbench.cli.compare import ComparisonFormat
from trnbench.reports import FORMATS, REPORTS, as_csv, ci, formats_of, render, text_formats
from trnbench.reports.as_markdown import markdown
from trnbench.reports.as_terminal import terminal
from trnbench.reports.document import (
    Column,
    Document,
    Facts,
    Format,
    Heading,
    Lines,
    Notes,
    Page,
    Part,
    Report,
    Rows,
    Table,
    columns,
)

FOLDER = Path(as_csv.__file__).parent
EVERY = [(name, form) for name in SAMPLES for form in text_formats(name)]


def test_the_formats_are_the_files() -> None:
    assert set(FORMATS) == {path.stem.removeprefix("as_") for path in FOLDER.glob("as_*.py")}


def test_the_reports_are_those_of_the_files() -> None:
    written = {
        f"{path.stem}:{name}".removesuffix(":REPORT")
        for path in FOLDER.glob("*.py")
        for name in re.findall(r"^([A-Z]+): (?:doc\.)?Report\[", path.read_text(), re.MULTILINE)
    }
    assert set(REPORTS) == written == set(SAMPLES)
    assert REPORTS["comparison"] == tuple(ci.FORMATS)
    assert not any(more for name, more in REPORTS.items() if name != "comparison")


def test_every_format_can_be_named() -> None:
    assert [each.value for each in options.Format] == list(FORMATS)
    assert [each.value for each in ComparisonFormat] == list(formats_of("comparison"))


def test_a_format_that_is_added_writes_every_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def shouted(report: Report[Any], of: Any, page: Page) -> str:
        document: Document = report.document(of, page)
        return "".join(f"{type(part).__name__.upper()}!" for part in document.parts)

    monkeypatch.setitem(reports.FORMATS, "shouted", Format(shouted))
    for name, of in SAMPLES.items():
        assert "shouted" in formats_of(name)
        assert "!" in render(report_of(name), of, "shouted", Page())


def test_every_report_has_every_format() -> None:
    def check(name: str, form: str) -> None:
        text = render(report_of(name), SAMPLES[name], form, Page(width=100))
        assert text.endswith("\n")
        assert "\x1b" not in text
        if form == "json":
            json.loads(text)
        if form == "csv":
            header, *rows = csv.reader(io.StringIO(text))
            assert rows
            assert all(len(row) == len(header) for row in rows)
            assert not any(cell.startswith("=") for row in rows for cell in row)

    check_each(EVERY, check)


PARTS: list[Part] = [
    Heading("a title", beside="(beside)"),
    Facts([("label", "a text"), ("", "more of it")]),
    Lines(["one sentence", "another"]),
    Table(
        (Column("obvious", is_obvious=True), Column("figure", is_figure=True), Column("text")),
        [("a", "1", "words")],
        notes=["under it"],
    ),
    Notes(["beside it"], indent=2),
    Heading("the end", level=0),
]


def test_a_document_on_a_terminal() -> None:
    assert terminal(PARTS, Page(width=40)) == (
        "a title  (beside)\n"
        "  label  a text\n"
        "         more of it\n"
        "\n"
        "one sentence\n"
        "another\n"
        "\n"
        "   figure  text\n"
        "────────────────\n"
        "a       1  words\n"
        "· under it\n"
        "\n"
        "  · beside it\n"
        "\n"
        "the end\n"
    )


def test_a_document_in_markdown() -> None:
    assert markdown(PARTS) == (
        "### a title (beside)\n\n"
        "- label: a text\n- more of it\n\n"
        "- one sentence\n- another\n\n"
        "| obvious | figure | text |\n|---|--:|---|\n| a | 1 | words |\n\n- under it\n\n"
        "- beside it\n\n"
        "**the end**\n"
    )


def test_a_terminal_ends_with_what_a_page_begins_with() -> None:
    def document(_: None, page: Page) -> Document:
        return Document([Lines(["body"])], [Lines(["first"]), Lines(["then"])])

    report: Report[None] = Report(
        title="", document=document, rows=lambda _: Rows((), (), ()), record=lambda _, page: None
    )
    assert render(report, None, "terminal", Page()) == "body\n\nthen\n\nfirst\n"
    assert render(report, None, "markdown", Page()) == "- first\n\n- then\n\n- body\n"


def test_a_spare_column_that_a_narrow_page_has_no_room_for_is_left_out_and_named_once() -> None:
    table = Table(columns("a", "?bb", ">c"), [("1" * 20, "2" * 10, "3")])
    assert terminal([table], Page(width=35)).splitlines()[0] == f"a{' ' * 21}bb{' ' * 10}c"
    narrow = terminal([table, table], Page(width=34))
    assert narrow.splitlines()[:4] == [
        f"a{' ' * 21}c", "─" * 23, f"{'1' * 20}  3", "· a wider terminal shows: bb"
    ]  # fmt: skip
    assert narrow.count("a wider terminal") == 1


def test_a_table_shows_its_narrow_form_and_then_cards() -> None:
    narrow = Table(columns("n", ">f"), [("w" * 10, "1,000 ±1.0 %")], notes=["less"], is_even=True)
    table = Table(
        columns("", "name", ">figure [95 %]"), [("1", "w" * 10, "1,000 [990, 1,010]")],
        is_even=True, narrow=narrow,
    )  # fmt: skip
    assert terminal([table], Page(width=40)).splitlines()[2] == f"1  {'w' * 10}  1,000 [990, 1,010]"
    assert terminal([table], Page(width=30)).splitlines()[2:] == [
        f"{'w' * 10}  1,000 ±1.0 %", "· less"
    ]  # fmt: skip
    assert terminal([table], Page(width=22)) == (
        f"1  {'w' * 10}\n  figure [95 %]\n    1,000 [990, 1,010]\n"
    )


def test_a_card_repeats_a_first_cell_that_is_blank() -> None:
    table = Table(columns("name", ">figure"), [("a", "1 " * 9), ("", "2 " * 9)], blank_repeats=True)
    lines = terminal([table], Page(width=20)).splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == ["a", "a"]


def test_a_long_word_is_broken_where_its_parts_meet() -> None:
    (heading, *rest) = terminal(
        [Lines(["at github.com/owner/name/file.csv"])], Page(width=20)
    ).split()
    assert [heading, *rest] == ["at", "github.com/owner/", "name/file.csv"]
    assert terminal([Lines(["a" * 25])], Page(width=20)).split() == ["a" * 20, "a" * 5]


def test_a_long_name_is_broken_where_its_parts_meet_before_its_row_becomes_a_card() -> None:
    table = Table(columns("zone", ">$/h", "from"), [("us-east-1-dfw-2a", "1,000.50", "words")])
    assert terminal([table], Page(width=24)).splitlines()[3:5] == [
        "us-east-1-dfw-  1,000.50", "2a"
    ]  # fmt: skip
    assert "  $/h" in terminal([table], Page(width=23))


def test_an_interval_is_one_word() -> None:
    assert terminal([Lines(["so many as 1 [0.5, 1.5]"])], Page(width=20)) == (
        "so many as 1\n[0.5, 1.5]\n"
    )


def test_notes_have_the_numbers_that_rows_name() -> None:
    notes = Notes(["of one", "of another", "of all"], numbered=2)
    assert terminal([notes], Page()) == "[1] of one\n[2] of another\n· of all\n"
    assert markdown([notes]) == "- \\[1\\] of one\n- \\[2\\] of another\n- of all\n"


def test_a_terminal_shows_the_first_200_rows_and_the_command_that_shows_all() -> None:
    table = Table(columns("n"), [(str(number),) for number in range(1, 1001)])
    whole = terminal([table], Page())
    assert whole.splitlines()[-1] == "1000"
    cut = terminal([table], Page(all_rows="trnbench prices | less")).splitlines()
    assert cut[-2:] == [
        "200", "· the first 200 of 1,000 rows; all of them: trnbench prices | less"
    ]  # fmt: skip
    assert markdown([table]).count("\n") == 1002


def test_no_report_breaks_a_figure_or_leaves_its_page() -> None:
    def check(name: str, width: int) -> None:
        text = render(report_of(name), SAMPLES[name], "terminal", Page(width=width))
        assert max(map(len, text.splitlines())) <= width
        assert re.findall(r"\[\$?\d[\d.,$ %]*$", text, re.MULTILINE) == []

    check_each([(n, w) for n in SAMPLES if n != "prices" for w in (40, 80, 120, 150, 200)], check)


def test_a_last_column_of_figures_ends_with_the_table() -> None:
    table = Table(columns(">gate", ">launches"), [("2%", "6")])
    assert terminal([table], Page(width=80)) == "gate  launches\n──────────────\n  2%         6\n"


def test_a_list_has_no_headings_and_its_last_column_under_the_row() -> None:
    table = Table((Column("state", least_width=6), *columns("gate", "seen")), [], is_list=True)
    assert terminal([table], Page()) == "\n"
    rows = [("ok", "a gate", "what was seen")]
    listed = Table(table.columns, rows, is_list=True)
    assert terminal([listed], Page()) == "ok      a gate\n        what was seen\n"


HEADINGS = columns("what", ">rate", ">lowest to highest", ">of datasheet", "size")
ROWS = [
    ("queries", "393 TFLOP/s", "305 to 458", "39.7 %", "8192 x 4096 x 4096, 32 times"),
    ("head", "none", "", "", "128256 x 4096 x 8192: not enough memory"),
]


def layout(width: int) -> str:
    return terminal([Table(HEADINGS, ROWS)], Page(width=width))


def test_no_line_of_a_table_is_wider_than_the_page() -> None:
    def check(width: int) -> None:
        text = layout(width)
        assert max(map(len, text.splitlines())) <= width
        words = " ".join([*(c.heading for c in HEADINGS), *map(" ".join, ROWS)]).split()
        assert (
            set(words)
            >= {*text.replace("─", "").split()}
            >= {*" ".join(map(" ".join, ROWS)).split()}
        )

    check_each([*range(40, 62), 80, 120], check)


@pytest.mark.parametrize("width", [45, 60, 80, 120])
def test_the_rule_is_as_wide_as_what_it_parts(width: int) -> None:
    lines = layout(width).splitlines()
    (rule,) = [line for line in lines if line.startswith("─")]
    assert len(rule) == max(len(line) for line in lines if line != rule)


def test_headings_wrap_before_figures_do() -> None:
    text = layout(45)
    assert "lowest to highest" not in text
    assert "queries  393 TFLOP/s  305 to 458" in text


def test_a_table_of_one_column_has_no_others_to_be_beside() -> None:
    table = Table(columns("what"), [("a thing",)])
    assert terminal([table], Page(width=80)) == "what\n───────\na thing\n"
