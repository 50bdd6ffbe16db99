"""Each format as it looks, for a sound, a doubtful and a failed case."""

from collections.abc import Callable

import pytest

from tests.builders import job_results, three_results
from tests.pure.run.plans import plan_case
from trnbench import __version__
from trnbench.reports import plans, render, text_formats
from trnbench.reports.document import Page
from trnbench.reports.results import REPORT
from trnbench.run.configs import shipped_configs

Golden = Callable[[str, str], None]


@pytest.mark.parametrize("name", sorted(text_formats()))
def test_a_format_looks_as_it_did(name: str, check_golden: Golden) -> None:
    text = render(REPORT, three_results(), name, Page(width=200))
    check_golden(f"reports/{name}.txt", text.replace(f'"{__version__}"', '"0.1.0"'))


@pytest.mark.parametrize("name", sorted(text_formats()))
def test_a_job_and_an_idle_machine_look_as_they_did(name: str, check_golden: Golden) -> None:
    """A job on eight GPUs, one GPU of the same kind, and one core of a whole trn2.48xlarge."""
    text = render(REPORT, job_results(), name, Page(width=200))
    check_golden(f"reports/job-{name}.txt", text.replace(f'"{__version__}"', '"0.1.0"'))


@pytest.mark.parametrize(("width", "is_coloured"), [(60, False), (80, True), (150, True)])
def test_the_terminal_looks_as_it_did(width: int, is_coloured: bool, check_golden: Golden) -> None:
    text = render(REPORT, three_results(), "terminal", Page(width=width, is_coloured=is_coloured))
    check_golden(f"reports/terminal-{width}{'-colour' if is_coloured else ''}.txt", text)


@pytest.mark.parametrize("name", ["quick", "llama3-8b-trn2.48xlarge"])
def test_a_plan_looks_as_it_did(name: str, check_golden: Golden) -> None:
    text = shipped_configs()[name].read_text()
    if name == "quick":
        text = text.replace("model: [tiny-llama, tiny-gpt2]", "model: [tiny-llama]")
    check_golden(
        f"reports/plan-{name}.txt",
        render(plans.REPORT, [plan_case(found=None, text=text)], "terminal", Page(width=1000)),
    )
