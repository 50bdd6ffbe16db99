"""`trnbench schema`: the JSON Schema of each kind of file, and the report's columns."""

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any

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
    if kind is Kind.COLUMNS:
        from trnbench.reports.columns import describe_columns

        typer.echo(describe_columns(), nl=False)
        return
    document = {"$schema": DIALECT, **_SCHEMAS[kind]()}
    typer.echo(json.dumps(document, indent=2))


def _config() -> dict[str, Any]:
    from trnbench.config.model import Config

    return Config.model_json_schema()


def _plan() -> dict[str, Any]:
    from trnbench.schema.plan import Plan

    return Plan.model_json_schema(mode="serialization")


def _record() -> dict[str, Any]:
    from pydantic import TypeAdapter

    from trnbench.schema.records import Record

    return TypeAdapter(Record).json_schema()


def _result() -> dict[str, Any]:
    from trnbench.schema.result import Result

    return Result.model_json_schema(mode="serialization")


def _run() -> dict[str, Any]:
    from trnbench.schema.run_document import RunDocument

    return RunDocument.model_json_schema(mode="serialization")


def _comparison() -> dict[str, Any]:
    from trnbench.schema.comparison import Comparison

    return Comparison.model_json_schema(mode="serialization")


def _profile() -> dict[str, Any]:
    from trnbench.schema.profile import Profile

    return Profile.model_json_schema(mode="serialization")


_SCHEMAS: Mapping[Kind, Callable[[], dict[str, Any]]] = {
    Kind.CONFIG: _config,
    Kind.PLAN: _plan,
    Kind.RECORD: _record,
    Kind.RESULT: _result,
    Kind.RUN: _run,
    Kind.COMPARISON: _comparison,
    Kind.PROFILE: _profile,
}
