"""`trnbench models`: the shapes that can be named in a config."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from trnbench.cli.options import AsJson
from trnbench.model.flops import CONVENTIONS, active_parameter_count, flops_per_token

if TYPE_CHECKING:
    from trnbench.catalog.models import CatalogModel


def models(
    sequence_length: Annotated[
        int,
        typer.Option(min=1, max=10**7, help="Tokens a sequence, for the FLOPs of attention."),
    ] = 4096,
    as_json: AsJson = False,
) -> None:
    """List the catalog's models with their weights and FLOPs a token."""
    from trnbench.catalog.models import models as catalog
    from trnbench.cli.listing import show_table

    found = list(catalog().values())
    if as_json:
        document = {"models": [_as_json(model, sequence_length) for model in found]}
        typer.echo(json.dumps(document, indent=1))
        return
    show_table(HEADINGS, [_as_cells(model, sequence_length) for model in found])


HEADINGS = (
    "model", "family", "weights", "layers", "width", "heads", "vocabulary",
    "training FLOP a token",
)  # fmt: skip


def _as_cells(model: "CatalogModel", sequence_length: int) -> tuple[str, ...]:
    from trnbench.schema.units import say_flops, say_weights

    shape = model.shape
    length = min(sequence_length, shape.max_positions)
    count = model.parameter_count
    return (
        model.name,
        shape.family,
        f"{count:,} ({say_weights(count, active_parameter_count(shape))})",
        str(shape.layers),
        str(shape.hidden_size),
        f"{shape.heads}/{shape.kv_heads}",
        f"{shape.vocabulary_size:,}" + (" tied" if shape.tied_embeddings else ""),
        f"{say_flops(flops_per_token(shape, length))} at {length}",
    )


def _as_json(model: "CatalogModel", sequence_length: int) -> dict[str, object]:
    shape = model.shape
    length = min(sequence_length, shape.max_positions)
    return {
        "model": model.name,
        "parameter_count": model.parameter_count,
        "active_parameter_count": active_parameter_count(shape),
        "shape": asdict(shape),
        "sequence_length": length,
        "flops_per_token": {name: flops_per_token(shape, length, name) for name in CONVENTIONS},
        "source": model.source,
    }
