"""Each format of a comparison as it looks: a plain one with gates, and one that has everything."""

from collections.abc import Callable

import pytest

from tests.pure.reports.comparisons import rich, slower
from trnbench import __version__
from trnbench.reports import render, text_formats
from trnbench.reports.comparison import REPORT
from trnbench.reports.document import Page
from trnbench.schema.comparison import Comparison

Golden = Callable[[str, str], None]

COMPARISONS = {"slower": slower, "rich": rich}


@pytest.mark.parametrize("name", sorted(text_formats("comparison")))
@pytest.mark.parametrize("which", sorted(COMPARISONS))
def test_a_format_looks_as_it_did(name: str, which: str, check_golden: Golden) -> None:
    comparison: Comparison = COMPARISONS[which]()
    text = render(REPORT, comparison, name, Page(width=160))
    check_golden(f"comparisons/{which}-{name}.txt", text.replace(f'"{__version__}"', '"0.1.0"'))


@pytest.mark.parametrize("which", sorted(COMPARISONS))
@pytest.mark.parametrize(("width", "is_coloured"), [(80, False), (160, True)])
def test_the_terminal_looks_as_it_did(
    which: str, width: int, is_coloured: bool, check_golden: Golden
) -> None:
    page = Page(width=width, is_coloured=is_coloured)
    text = render(REPORT, COMPARISONS[which](), "terminal", page)
    colour = "-colour" if is_coloured else ""
    check_golden(f"comparisons/{which}-terminal-{width}{colour}.txt", text)
