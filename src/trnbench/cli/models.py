"""`trnbench models`: the models that a config can name."""

from typing import Annotated

import typer

from trnbench.cli.options import OutputChoice

EXAMPLES = (
    "trnbench models",
    "trnbench models -f csv -o models.csv",
)
"""For `--help`."""


def models(
    *,
    sequence_length: Annotated[
        int,
        typer.Option(
            min=1, max=10**7, metavar="N", help="Tokens in a sequence, for the FLOPs of attention."
        ),
    ] = 4096,
    form: OutputChoice,
) -> None:
    """List the catalog's models with their weights and FLOPs a token."""
    from trnbench.catalog.models import models as catalog
    from trnbench.cli.output import show
    from trnbench.reports.models import REPORT, Listed

    show(REPORT, Listed(list(catalog().values()), sequence_length), form.name, form.output)
