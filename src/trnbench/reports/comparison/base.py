"""What every format of a comparison is given, and what it answers: text, never a file."""

from collections.abc import Callable

from trnbench.reports.document import Page
from trnbench.schema.comparison import Comparison

RenderComparison = Callable[[Comparison, Page], str]
