"""Each format as it looks, for a sound, a doubtful and a failed case."""

from collections.abc import Callable

import pytest

from tests.builders import make_blocks, make_measurement, make_plan, make_result
from tests.unit.run.plans import plan_case
from trnbench import __version__
from trnbench.reports import REPORTS
from trnbench.reports.base import Page
from trnbench.reports.plans import plans_as_text
from trnbench.run.configs import shipped_configs
from trnbench.schema.result import Result

Golden = Callable[[str, str], None]


def three_results() -> list[Result]:
    """Return one case of each kind, as the first version wrote them."""
    noisy = make_plan({"price": "{}", "model": "tiny-gpt2"})
    times = [0.04 * (1 + i % 5 / 9) for i in range(60)]
    large = make_plan({"model": "llama3.2-1b", "workload.precision": "bf16"})
    results = [
        make_result(),
        make_result(noisy, make_measurement(noisy, blocks=make_blocks(times))),
        make_result(large, make_measurement(large, blocks=[], status="out_of_memory", memory=None)),
    ]
    return [result.model_copy(update={"trnbench_version": "0.1.0"}) for result in results]


@pytest.mark.parametrize("name", sorted(REPORTS))
def test_a_format_looks_as_it_did(name: str, check_golden: Golden) -> None:
    text = REPORTS[name](three_results(), Page(width=200))
    check_golden(f"reports/{name}.txt", text.replace(f'"{__version__}"', '"0.1.0"'))


@pytest.mark.parametrize(("width", "is_coloured"), [(60, False), (80, True), (150, True)])
def test_the_terminal_looks_as_it_did(width: int, is_coloured: bool, check_golden: Golden) -> None:
    text = REPORTS["terminal"](three_results(), Page(width=width, is_coloured=is_coloured))
    check_golden(f"reports/terminal-{width}{'-colour' if is_coloured else ''}.txt", text)


@pytest.mark.parametrize("name", ["quick", "llama3-8b-trn2.48xlarge"])
def test_a_plan_looks_as_it_did(name: str, check_golden: Golden) -> None:
    text = shipped_configs()[name].read_text()
    if name == "quick":
        text = text.replace("model: [tiny-llama, tiny-gpt2]", "model: [tiny-llama]")
    check_golden(f"reports/plan-{name}.txt", plans_as_text([plan_case(found=None, text=text)]))
