"""`trnbench schema`: the JSON Schema of each kind of file, and the report's columns."""

import json
import pkgutil
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

EXAMPLES = (
    "trnbench schema config",
    "trnbench schema columns",
)
"""For `--help`."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Kind = Literal["config", "plan", "record", "result", "run", "comparison", "profile", "columns"]
"""The kinds of files that have a schema, and the columns of reports."""

TYPES: Mapping[Kind, str] = {
    "config": "trnbench.config.model:Config",
    "plan": "trnbench.schema.plan:Plan",
    "record": "trnbench.schema.measurement:Record",
    "result": "trnbench.schema.result:Result",
    "run": "trnbench.schema.result:RunDocument",
    "comparison": "trnbench.schema.comparison:Comparison",
    "profile": "trnbench.schema.profile:Profile",
}
"""By name, so that only the one that is printed is imported."""

AS_READ: tuple[Kind, ...] = ("config", "record")
"""Kinds whose schema says what may be left out; the others' says what is always written."""


def schema(
    kind: Annotated[
        Kind,
        typer.Argument(
            help="config: what you write. plan, record (a line of measurement.jsonl), result, run: "
            "what trnbench writes. comparison: what `compare --format json` writes. profile: what "
            "`profile` writes. columns: what CSV and JSON reports hold.",
        ),
    ] = "config",
) -> None:
    """Print the JSON Schema of a kind of file, for editors and for programs that read it."""
    from trnbench.cli.output import write

    if kind == "columns":
        from trnbench.reports.columns import describe_columns

        write(describe_columns())
        return
    write(json.dumps({"$schema": DIALECT, **schema_of(kind)}, indent=2) + "\n")


def schema_of(kind: Kind) -> dict[str, Any]:
    """Return the JSON Schema of a kind of file."""
    from pydantic import TypeAdapter

    adapter = TypeAdapter(pkgutil.resolve_name(TYPES[kind]))
    return adapter.json_schema(mode="validation" if kind in AS_READ else "serialization")
