"""The models of the catalog as a report."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from trnbench.catalog.models import CatalogModel
from trnbench.model.flops import CONVENTIONS, active_parameter_count, flops_per_token
from trnbench.reports import document as doc
from trnbench.units import say_flops, say_weights

COLUMNS = doc.columns(
    "model",
    "family",
    ">weights",
    "?layers",
    "?width",
    "?heads",
    "?vocabulary",
    "?>exact weights",
    ">training FLOP a token",
)


class Listed(NamedTuple):
    """Models, and the tokens of a sequence that their FLOPs are for."""

    models: Sequence[CatalogModel]
    sequence_length: int


def _document(listed: Listed, page: doc.Page) -> doc.Document:
    rows = [_cells(model, listed.sequence_length) for model in listed.models]
    return doc.Document([doc.Table(COLUMNS, rows)])


def _cells(model: CatalogModel, sequence_length: int) -> tuple[str, ...]:
    shape, count = model.shape, model.parameter_count
    length = min(sequence_length, shape.max_positions)
    return (
        model.name,
        shape.family,
        say_weights(count, active_parameter_count(shape)),
        str(shape.layers),
        str(shape.hidden_size),
        f"{shape.heads}/{shape.kv_heads}",
        f"{shape.vocabulary_size:,}" + (" tied" if shape.tied_embeddings else ""),
        f"{count:,}",
        f"{say_flops(flops_per_token(shape, length))} at {length}",
    )


def _rows(listed: Listed) -> doc.Rows:
    counts = (f"flops_per_token_{name}=flops_per_token.{name}:float" for name in CONVENTIONS)
    return doc.rows_at(
        _records(listed), "model", "parameter_count:int", "active_parameter_count:int",
        "sequence_length:int", *counts, "source",
    )  # fmt: skip


def _records(listed: Listed) -> list[dict[str, Any]]:
    records = []
    for model in listed.models:
        shape = model.shape
        length = min(listed.sequence_length, shape.max_positions)
        records.append(
            {
                "model": model.name,
                "parameter_count": model.parameter_count,
                "active_parameter_count": active_parameter_count(shape),
                "shape": asdict(shape),
                "sequence_length": length,
                "flops_per_token": {by: flops_per_token(shape, length, by) for by in CONVENTIONS},
                "source": model.source,
            }
        )
    return records


REPORT: doc.Report[Listed] = doc.Report(
    title="Models",
    document=_document,
    rows=_rows,
    record=lambda listed, page: {"models": _records(listed)},
)
