"""Model shapes by name, and the defaults of a shape's sizes."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from trnbench.catalog import read_text
from trnbench.protocol.model import Experts, Image, ModelShape, RopeScaling


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """A published model."""

    name: str
    shape: ModelShape
    parameter_count: int
    """As its makers publish it, a tied head counted once."""
    source: str


LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where PyYAML has it

DEFAULTS: dict[str, Any] = {
    "kv_heads": None,
    "head_dim": None,
    "tied_embeddings": False,
    "qk_norm": False,
    "norm_epsilon": 1e-5,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "init_std": 0.02,
}
"""Of sizes that have none in `ModelShape`; the init_std is that of the published config files."""

REQUIRED_SIZES = (
    "family", "layers", "hidden_size", "heads", "intermediate_size", "vocabulary_size",
    "max_positions",
)  # fmt: skip

PARTS: dict[str, Callable[..., Any]] = {
    "rope_scaling": RopeScaling,
    "experts": Experts,
    "image": Image,
}
"""Sizes that are mappings of their own."""


@functools.cache
def models() -> dict[str, CatalogModel]:
    """Return every model of the catalog by name, in reading order."""
    found = {}
    for name, entry in yaml.load(read_text("models.yaml"), Loader=LOADER).items():
        sizes = {k: v for k, v in entry.items() if k not in ("parameter_count", "source")}
        found[name] = CatalogModel(
            name=name,
            shape=complete_shape(sizes),
            parameter_count=entry["parameter_count"],
            source=entry["source"],
        )
    return found


def complete_shape(sizes: dict[str, Any]) -> ModelShape:
    """Return a shape: what is not given has its default, or follows from the sizes given.

    Raises:
        KeyError: a size without a default is missing; its argument is the size's name.
    """
    filled = {**DEFAULTS, **sizes}
    for name in REQUIRED_SIZES:
        if filled.get(name) is None:
            raise KeyError(name)
    if filled["kv_heads"] is None:
        filled["kv_heads"] = filled["heads"]
    if filled["head_dim"] is None:
        filled["head_dim"] = filled["hidden_size"] // filled["heads"]
    for name, part in PARTS.items():
        given = filled.get(name)
        if isinstance(given, dict):
            filled[name] = part(**given)
    return ModelShape(**filled)
