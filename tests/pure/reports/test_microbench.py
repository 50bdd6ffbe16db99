"""Measured ceilings as they look: on a processor, and on a chip that has a datasheet."""

import csv
import io
import json
from collections.abc import Callable, Sequence

import pytest

from trnbench.protocol.orders import (
    PROTOCOL_VERSION,
    AttentionTask,
    CollectiveTask,
    MatmulTask,
    MoveTask,
    PeakTask,
)
from trnbench.protocol.records import Environment
from trnbench.reports import render
from trnbench.reports.document import Page
from trnbench.reports.microbench import REPORT, reading_as_line
from trnbench.schema.microbench import Group, PeakDocument, PeakReading

Golden = Callable[[str, str], None]


def reading(
    group: Group,
    label: str,
    task: PeakTask,
    seconds: Sequence[float] = (),
    *,
    count: int = 1,
    ranks: int = 1,
    reason: str | None = None,
) -> PeakReading:
    return PeakReading(
        group=group, label=label, task=task, count=count, ranks=ranks, runs=4,
        seconds=tuple(seconds), reason=reason,
        source="torch" if group != "collective" else "nccom-test",
    )  # fmt: skip


def product(m: int, n: int, k: int, layout: str = "nt", precision: str = "bf16") -> MatmulTask:
    name = f"{precision} {m} {n} {k} {layout}"
    return MatmulTask(name=name, precision=precision, m=m, n=n, k=k, layout=layout)  # type: ignore[arg-type]


READINGS = (
    reading("square", "square", product(4096, 4096, 4096), (3e-4, 2.9e-4, 3.2e-4)),
    reading("model", "queries", product(8192, 4096, 4096), (7e-4, 6e-4, 9e-4), count=32),
    reading("model", "queries", product(8192, 4096, 4096, "nn"), (8e-4,) * 3, count=32),
    reading("model", "head", product(128256, 4096, 8192, "tn"), reason="not enough memory"),
    reading(
        "memory",
        "copy",
        MoveTask(name="copy", motion="copy", array_bytes=2**30),
        (7e-4, 7.2e-4, 7.1e-4),
    ),
    reading(
        "attention",
        "attention",
        AttentionTask(
            name="bf16 attention training", precision="bf16", batch=2, heads=32, kv_heads=8,
            tokens=4096, head_dim=128, passes="training",
        ),
        (5e-3, 5.1e-3, 5.2e-3),
        count=32,
    ),
    reading(
        "collective",
        "all-reduce",
        CollectiveTask(name="all_reduce", operation="all_reduce", whole_bytes=2**24),
        (1.2e-4,),
        ranks=8,
    ),
)  # fmt: skip


def document(*, is_chip: bool, status: str = "finished") -> PeakDocument:
    return PeakDocument(
        trnbench_version="0.1.0",
        started_at="2026-11-24T12:00:00Z",
        status=status,  # type: ignore[arg-type]
        reason=None if status == "finished" else "stopped by Ctrl-C",
        model="llama3-8b",
        tokens=8192,
        accelerator="h100-sxm" if is_chip else None,
        devices_per_chip=1,
        environment=Environment(
            at_seconds=1.0, wire_version=PROTOCOL_VERSION, backend="cuda" if is_chip else "cpu",
            device_name="NVIDIA H100 80GB HBM3" if is_chip else "a processor", device_count=1,
            asynchronous=is_chip, proven=not is_chip, threads=None if is_chip else 2,
            versions={"torch": "2.13.0"}, settings={},
        ),
        readings=READINGS,
    )  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 160])
@pytest.mark.parametrize("is_chip", [False, True])
def test_the_terminal_looks_as_it_did(width: int, is_chip: bool, check_golden: Golden) -> None:
    text = render(REPORT, document(is_chip=is_chip), "terminal", Page(width=width))
    check_golden(f"reports/peak-{'chip' if is_chip else 'cpu'}-{width}.txt", text)
    assert max(map(len, text.splitlines())) <= width


def test_markdown_looks_as_it_did(check_golden: Golden) -> None:
    text = render(REPORT, document(is_chip=True, status="interrupted"), "markdown", Page(width=80))
    check_golden("reports/peak-markdown.txt", text)
    assert "not finished: interrupted: stopped by Ctrl-C" in text


def test_others_load_stands_in_the_heading_where_there_was_much() -> None:
    busy = document(is_chip=False).model_copy(update={"foreign_cpu_share": 0.31})
    head = render(REPORT, busy, "terminal", Page(width=200)).partition("\n\n")[0]
    assert "others used 31.0% of the processors meanwhile" in head
    free = busy.model_copy(update={"foreign_cpu_share": 0.01})
    assert "others" not in render(REPORT, free, "terminal", Page(width=200))
    assert json.loads(render(REPORT, free, "json", Page(width=80)))["foreign_cpu_share"] == 0.01


def test_a_file_of_before_is_read() -> None:
    kept = json.loads(document(is_chip=False).model_dump_json())
    old = {key: kept[key] for key in kept if key not in ("planned_products", "foreign_cpu_share")}
    assert PeakDocument.model_validate_json(json.dumps(old)) == document(is_chip=False)


def test_the_csv_has_every_reading_with_its_figures_or_its_reason() -> None:
    rows = list(
        csv.DictReader(io.StringIO(render(REPORT, document(is_chip=True), "csv", Page(width=80))))
    )
    assert len(rows) == len(READINGS)
    assert float(rows[0]["rate"]) == pytest.approx(2 * 4096**3 / 3e-4)
    assert float(rows[0]["rate_lowest"]) < float(rows[0]["rate"]) < float(rows[0]["rate_highest"])
    assert (rows[3]["rate"], rows[3]["reason"]) == ("", "not enough memory")
    assert float(rows[4]["of_datasheet"]) == pytest.approx(2 * 2**30 / 7.1e-4 / 3.35e12)
    assert rows[6]["source"] == "nccom-test"


def test_the_json_is_the_document_and_what_it_comes_to() -> None:
    made = document(is_chip=False)
    whole = json.loads(render(REPORT, made, "json", Page(width=80)))
    (ceiling,) = whole.pop("ceilings")
    assert PeakDocument.model_validate_json(json.dumps(whole)) == made
    assert ceiling["best_rate"]["value"] == pytest.approx(2 * 4096**3 / 3e-4)
    assert ceiling["together"] is None, "one of the products has no time"


def test_a_reading_is_shown_in_a_line_as_it_comes() -> None:
    assert (
        reading_as_line(READINGS[2]) == "bf16 queries dX, 8192 x 4096 x 4096, 32 times: 344 TFLOP/s"
    )
    assert reading_as_line(READINGS[3]).endswith("128256 x 4096 x 8192: not enough memory")


def test_a_range_over_two_units_names_both() -> None:
    square = product(1000, 1000, 1000)  # 2 GFLOP
    seconds = (0.1, 4.0, 5.0)
    slow = document(is_chip=False).model_copy(
        update={"readings": (reading("square", "square", square, seconds),)}
    )
    assert "400 MFLOP/s to 20 GFLOP/s" in render(REPORT, slow, "terminal", Page(width=160))
