"""The rows of every report: what programs are given."""

from datetime import UTC, date, datetime
from typing import Any, get_args

import pytest

from tests.builders import job_results, three_results
from tests.pure.reports.samples import SAMPLES, report_of
from trnbench.reports import REPORTS
from trnbench.reports.columns import kind_of
from trnbench.reports.document import Kind, Rows, rows_at
from trnbench.schema.result import Result


def is_of_kind(value: Any, kind: Kind) -> bool:
    match kind:
        case "text":
            return isinstance(value, str)
        case "int":  # rounded where it is written
            return isinstance(value, int | float)
        case "float":
            return isinstance(value, int | float)
        case "flag":
            return value in (0, 1)
        case "day":
            return len(value) == 10 and bool(date.fromisoformat(value))
        case "time":
            return datetime.fromisoformat(value).utcoffset() == UTC.utcoffset(None)


def strays(rows: Rows) -> list[str]:
    """Return the columns with a value that is not of their kind."""
    assert len(rows.names) == len(rows.kinds)
    return [
        f"{name}: {kind}: {cell!r}"
        for row in rows.rows
        for name, kind, cell in zip(rows.names, rows.kinds, row, strict=True)
        if cell is not None and not is_of_kind(cell, kind)
    ]


@pytest.mark.parametrize("key", REPORTS)
def test_every_value_of_every_report_is_of_its_column_s_kind(key: str) -> None:
    rows = report_of(key).rows(SAMPLES[key])
    assert rows.rows
    assert set(rows.kinds) <= {*get_args(Kind)}
    assert strays(rows) == []


def test_so_it_is_of_a_job_of_ranks() -> None:
    assert strays(report_of("results").rows(job_results())) == []


def test_a_stray_value_is_found() -> None:
    assert strays(rows_at([{"a": "1", "b": 1}], "a:int", "b")) == ["a: int: '1'", "b: text: 1"]


def test_the_schema_says_what_a_column_holds() -> None:
    kinds = {
        "run_id": "text", "device.devices_used": "int", "timing.gate_seconds": "float",
        "energy.is_valid": "flag", "price.date": "day", "price.usd_per_hour": "float",
        "ranks.communication.share": "float", "versions.torch": "text",
    }  # fmt: skip
    assert {path: kind_of(Result, path) for path in kinds} == kinds


def test_an_empty_report_has_its_columns() -> None:
    rows = report_of("results").rows([])
    assert rows.rows == []
    assert list(rows.names) == list(report_of("results").rows(three_results()).names)
