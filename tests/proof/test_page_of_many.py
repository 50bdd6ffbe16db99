"""A page of ten thousand results has them all."""

from tests.builders import three_results
from trnbench.reports import render
from trnbench.reports.document import Page
from trnbench.reports.results import REPORT


def test_ten_thousand_results_are_one_page_with_every_row() -> None:
    base = three_results()
    results = [base[n % 3].model_copy(update={"run_id": f"run-{n:05}"}) for n in range(10_000)]
    text = render(REPORT, results, "html", Page())
    assert all(f"run-{n:05}" in text for n in (0, 5_000, 9_999))
    assert text.count("<tr>") > 20_000  # the table, and every figure
