"""`trnbench schema`: the JSON Schema of each kind of file, and the report's columns."""

import json
import pkgutil
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import typer

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Kind(StrEnum):
    """The kinds of files that have a schema, and the columns of reports."""

    CONFIG = "config"
    PLAN = "plan"
    RECORD = "record"
    RESULT = "result"
    RUN = "run"
    COMPARISON = "comparison"
    PROFILE = "profile"
    COLUMNS = "columns"


TYPES: Mapping[Kind, str] = {
    Kind.CONFIG: "trnbench.config.model:Config",
    Kind.PLAN: "trnbench.schema.plan:Plan",
    Kind.RECORD: "trnbench.schema.measurement:Record",
    Kind.RESULT: "trnbench.schema.result:Result",
    Kind.RUN: "trnbench.schema.result:RunDocument",
    Kind.COMPARISON: "trnbench.schema.comparison:Comparison",
    Kind.PROFILE: "trnbench.schema.profile:Profile",
}
"""By name, so that only the one that is printed is imported."""

AS_READ = (Kind.CONFIG, Kind.RECORD)
"""Kinds whose schema says what may be left out; the others' says what is always written."""


def schema(
    kind: Annotated[
        Kind,
        typer.Argument(
            help="config: what you write. plan, record (a line of measurement.jsonl), result, run: "
            "what trnbench writes. comparison: what `compare --format json` writes. profile: what "
            "`profile` writes. columns: what CSV and JSON reports hold.",
        ),
    ] = Kind.CONFIG,
) -> None:
    """Print the JSON Schema of a kind of file, for editors and for programs that read it."""
    from trnbench.cli.output import write

    if kind is Kind.COLUMNS:
        from trnbench.reports.columns import describe_columns

        write(describe_columns())
        return
    from pydantic import TypeAdapter

    adapter = TypeAdapter(pkgutil.resolve_name(TYPES[kind]))
    document = adapter.json_schema(mode="validation" if kind in AS_READ else "serialization")
    write(json.dumps({"$schema": DIALECT, **document}, indent=2) + "\n")
