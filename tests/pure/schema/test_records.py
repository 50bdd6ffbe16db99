"""The parent's records: each is written and read unchanged, beside those of the child."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.protocol.codec import ProtocolError, encode
from trnbench.protocol.orders import Purpose
from trnbench.protocol.records import CHILD_RECORDS
from trnbench.schema.measurement import (
    RECORDS,
    Decision,
    Header,
    Outcome,
    ParentRecord,
    Reading,
    Status,
    Watch,
    parse_record,
)

finite = st.floats(allow_nan=False, allow_infinity=False)
parents = st.one_of(
    st.builds(
        Header,
        schema_version=st.integers(),
        trnbench_version=st.text(),
        case_id=st.text(),
        plan_sha256=st.text(),
        started_at=st.text(),
    ),
    st.builds(
        Decision,
        at_seconds=finite,
        what=st.sampled_from(["window", "look", "stop"]),
        value=finite,
        why=st.text(),
    ),
    st.builds(
        Watch,
        at_seconds=finite,
        purpose=st.sampled_from(get_args(Purpose)),
        seconds=finite,
        foreign_cpu_share=finite,
        worker_rss_bytes=st.integers(),
    ),
    st.builds(
        Reading,
        at_seconds=finite,
        source=st.text(),
        device=st.none() | st.integers(),
        is_valid=st.booleans(),
        note=st.none() | st.text(),
        values=st.dictionaries(st.text(), finite),
        flags=st.lists(st.text()),
    ),
    st.builds(
        Outcome,
        at_seconds=finite,
        status=st.sampled_from(["finished", "died", "hung", "out_of_memory", "disk_full"]),
        reason=st.text(),
        hint=st.none() | st.text(),
        detail=st.none() | st.text(),
    ),
)


@given(parents)
def test_writing_and_reading_a_record_changes_nothing(record: Any) -> None:
    line = encode(record)
    assert "\n" not in line
    assert parse_record(line) == record
    assert parse_record(line.encode() + b"\n") == record


def test_a_measurement_file_holds_the_childs_records_and_the_parents() -> None:
    assert set(RECORDS) == {*CHILD_RECORDS, *get_args(ParentRecord)}
    kinds = [cls.__dataclass_fields__["kind"].default for cls in RECORDS]  # type: ignore[attr-defined]
    assert len(set(kinds)) == len(kinds)


def test_a_status_that_is_not_known_is_refused() -> None:
    outcome = Outcome(at_seconds=1.0, status="finished", reason="done")
    line = encode(outcome).replace('"finished"', '"perfect"')
    with pytest.raises(ProtocolError, match="status"):
        parse_record(line)


def test_every_failure_of_the_child_is_a_status() -> None:
    failures = {"unavailable", "out_of_memory", "compile_failure", "device_failure", "wrong_order"}
    known = {value for part in get_args(Status) for value in get_args(part)}
    assert failures <= known
    assert {"finished", "cut_off", "interrupted"} <= known
