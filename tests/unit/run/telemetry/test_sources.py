"""The room and its registry say the same, and every value that is told has a meaning."""

from pathlib import Path

from trnbench.run import telemetry
from trnbench.run.telemetry.base import QUANTITIES

NOT_SOURCES = {"__init__", "base", "recorder", "neuron_report"}
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
    folder = Path(telemetry.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} - NOT_SOURCES
    assert {name.replace("-", "_") for name in telemetry.SOURCES} == modules


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
    folder = Path(telemetry.__file__).parent
    sources = "".join(p.read_text() for p in folder.glob("*.py") if p.stem != "base")
    assert [name for name in QUANTITIES if f'"{name}"' not in sources] == []
