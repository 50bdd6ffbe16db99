"""A measurement file: what is read of it, what is tolerated, and what is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.errors import DataError
from trnbench.protocol.codec import encode
from trnbench.protocol.orders import PROTOCOL_VERSION
from trnbench.protocol.records import (
    Block,
    Built,
    Ceiling,
    CeilingPoint,
    Environment,
    Failed,
    Finished,
    Memory,
    Phase,
)
from trnbench.schema.measurement import (
    SCHEMA_VERSION,
    Decision,
    Header,
    Measurement,
    Outcome,
    Reading,
    Record,
    Watch,
    parse_measurement,
)

HEADER = Header(
    schema_version=SCHEMA_VERSION,
    trnbench_version="1.0",
    case_id="a-1",
    plan_sha256="0" * 64,
    started_at="2026-11-23T10:00:00Z",
)
BLOCK = Block(
    at_seconds=3.0,
    purpose="measure",
    first_step=0,
    steps=2,
    seconds=0.5,
    prepare_seconds=0.01,
    losses=[7.5, None],
    gradient_norms=[1.0, None],
    oracle_losses=[0.7, 0.8],
)
ENVIRONMENT = Environment(
    at_seconds=0.5,
    wire_version=PROTOCOL_VERSION,
    backend="cpu",
    device_name="a processor",
    device_count=1,
    asynchronous=False,
    proven=True,
    threads=2,
    versions={"torch": "2.13.0"},
    settings={},
)
CEILING = Ceiling(
    at_seconds=1.0, dtype="float32", points=[CeilingPoint(size=512, flops_per_second=[1e11, 2e11])]
)
BUILT = Built(at_seconds=2.0, parameter_count=10, parameter_bytes=40, embeddings_are_tied=False)
MEMORY = Memory(at_seconds=4.0, peak_bytes=None, counted="not metered")
PHASE = Phase(at_seconds=0.1, name="build")
DECISION = Decision(at_seconds=3.1, what="look", value=0.02, why="too wide")
WATCH = Watch(
    at_seconds=3.1, purpose="measure", seconds=0.5, foreign_cpu_share=0.1, worker_rss_bytes=2**30
)
READING = Reading(
    at_seconds=3.2,
    source="nvml",
    device=0,
    is_valid=True,
    note=None,
    values={"power_watts": 300.5},
    flags=["throttle_sw_power_cap"],
)
OUTCOME = Outcome(at_seconds=5.0, status="finished", reason="precise enough")

ALL: list[Record] = [
    HEADER, PHASE, ENVIRONMENT, CEILING, BUILT, BLOCK, WATCH, READING, DECISION, MEMORY,
    Finished(at_seconds=4.5, steps=2), OUTCOME,
]  # fmt: skip


def line_of(record: Record) -> bytes:
    return encode(record).encode() + b"\n"


def lines_of(*records: Record) -> list[bytes]:
    return [line_of(record) for record in records]


def fault(lines: list[bytes]) -> str:
    with pytest.raises(DataError) as caught:
        parse_measurement(lines, "measurement.jsonl")
    (problem,) = caught.value.problems
    assert problem.hint
    return problem.message


def test_every_record_lands_where_it_belongs() -> None:
    assert parse_measurement(lines_of(*ALL), "m") == Measurement(
        header=HEADER,
        environment=ENVIRONMENT,
        ceilings=[CEILING],
        built=BUILT,
        memory=MEMORY,
        outcome=OUTCOME,
        phases=[PHASE],
        blocks=[BLOCK],
        decisions=[DECISION],
        watches=[WATCH],
        readings=[READING],
    )


def test_records_of_a_kind_keep_their_order() -> None:
    blocks = [replace(BLOCK, first_step=step) for step in (0, 2, 4)]
    measurement = parse_measurement(lines_of(HEADER, *blocks), "m")
    assert measurement.blocks == blocks


def test_a_header_alone_is_a_measurement_of_nothing() -> None:
    measurement = parse_measurement([line_of(HEADER)], "m")
    assert measurement == Measurement(header=HEADER)


def test_a_failure_of_the_worker_is_left_to_the_outcome() -> None:
    failed = Failed(
        at_seconds=2.0, reason="out_of_memory", message="no room", hint=None, detail="Traceback"
    )
    outcome = replace(OUTCOME, status="out_of_memory", reason="no room")
    measurement = parse_measurement(lines_of(HEADER, failed, outcome), "m")
    assert measurement == Measurement(header=HEADER, outcome=outcome)


def test_a_torn_last_line_is_tolerated_and_told() -> None:
    torn = line_of(BLOCK)[:40]
    measurement = parse_measurement([line_of(HEADER), line_of(BLOCK), torn], "m")
    assert measurement.blocks == [BLOCK]
    assert measurement.torn_line == torn.decode()


@given(st.integers(1, len(line_of(BLOCK)) - 2))
def test_a_file_cut_anywhere_in_its_last_line_loses_only_that_line(cut: int) -> None:
    lines = [line_of(HEADER), line_of(BLOCK), line_of(BLOCK)[:cut]]
    measurement = parse_measurement(lines, "m")
    assert measurement.blocks == [BLOCK]
    assert measurement.torn_line


def test_a_torn_line_is_kept_by_its_beginning_whatever_its_bytes() -> None:
    measurement = parse_measurement([line_of(HEADER), b"\xff" + b"x" * 500], "m")
    assert measurement.torn_line == "\ufffd" + "x" * 79


def test_a_whole_last_line_that_lacks_only_its_end_counts() -> None:
    measurement = parse_measurement([line_of(HEADER), line_of(BLOCK).rstrip()], "m")
    assert measurement.blocks == [BLOCK]
    assert measurement.torn_line is None


@pytest.mark.parametrize(
    "damage",
    [
        b'{"kind":"block","at_sec\n',
        b"\n",
        b"\x00\x00\x00\n",
        b'{"kind":"surprise"}\n',
        b'{"kind":"finished","at_seconds":1.0,"steps":2,"more":1}\n',
        b'{"kind":"finished","at_seconds":NaN,"steps":2}\n',
        b'{"kind":"finished","at_seconds":1e999,"steps":2}\n',
        b"[1]\n",
    ],
)
def test_a_damaged_line_in_the_middle_is_refused_with_its_number(damage: bytes) -> None:
    message = fault([line_of(HEADER), line_of(BLOCK), damage, line_of(OUTCOME)])
    assert message.startswith("measurement.jsonl, line 3: ")


def test_a_damaged_last_line_that_is_not_torn_is_refused() -> None:
    assert fault([line_of(HEADER), b'{"kind":"bl\n']).startswith("measurement.jsonl, line 2: ")


def test_an_empty_file_is_refused() -> None:
    assert fault([]) == "measurement.jsonl: is empty"


def test_a_file_that_is_only_a_torn_header_is_refused() -> None:
    assert fault([line_of(HEADER)[:30]]).startswith("measurement.jsonl, line 1: ")


def test_a_file_without_a_header_is_refused() -> None:
    assert fault([line_of(BLOCK)]) == "measurement.jsonl: starts without a header"


def test_a_newer_file_is_refused_by_its_version() -> None:
    newer = replace(HEADER, schema_version=SCHEMA_VERSION + 1)
    assert fault([line_of(newer)]) == (
        f"measurement.jsonl: has format {SCHEMA_VERSION + 1}, this version reads {SCHEMA_VERSION}"
    )


def test_a_newer_file_whose_header_grew_is_refused_as_newer() -> None:
    header = {**json.loads(line_of(HEADER)), "schema_version": SCHEMA_VERSION + 1, "new": 1}
    with pytest.raises(DataError) as caught:
        parse_measurement([json.dumps(header).encode() + b"\n"], "measurement.jsonl")
    (problem,) = caught.value.problems
    assert problem.message == "measurement.jsonl, line 1: Header: unknown field 'new'"
    assert "a newer trnbench wrote it" in problem.hint
