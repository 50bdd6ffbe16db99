"""The room and its registry say the same, and every value that is told has a meaning."""

import re
from pathlib import Path

from trnbench.machine import telemetry
from trnbench.machine.source import QUANTITIES

FOLDER = Path(telemetry.__file__).parent
CODE = "".join(p.read_text() for p in sorted(FOLDER.glob("*.py")) if p.stem != "source")
SUFFIXES = (
    "_bytes",
    "_celsius",
    "_hertz",
    "_joules",
    "_per_second",
    "_seconds",
    "_share",
    "_watts",
)


def test_every_source_is_registered() -> None:
    written = set(re.findall(r"^class (\w+Source)\b", CODE, re.MULTILINE))
    registered = {opener.__qualname__.partition(".")[0] for opener in telemetry.SOURCES.values()}
    assert registered == written


def test_a_quantity_s_name_ends_with_its_unit_or_it_is_a_count() -> None:
    counts = {name for name in QUANTITIES if not name.endswith(SUFFIXES)}
    assert counts == {
        "load_average",
        "runtime_busy_cpus",
        "foreign_processes",
        "executions_completed",
        "executions_failed",
        "numerical_errors",
        "ecc_corrected",
        "ecc_uncorrected",
        "unreadable_lines",
    }


def test_every_quantity_is_told_by_some_source() -> None:
    assert [name for name in QUANTITIES if f'"{name}"' not in CODE] == []
