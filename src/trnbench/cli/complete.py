"""What a shell completes: configs, models, instances, devices, metrics and keys of a config.

Each function is given what is typed so far. Nothing is imported until a key is pressed.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def _starting(typed: str, known: Iterable[str]) -> list[str]:
    return [each for each in known if each.startswith(typed)]


def configs(incomplete: str) -> list[str]:
    """Complete the configs that ship, models, and YAML files here."""
    from pathlib import Path

    from trnbench.run.configs import shipped_configs

    folder = incomplete.rpartition("/")[0]
    here = Path(folder or ".")
    files = sorted(here.glob("*.yaml")) if here.is_dir() else []
    names = [f"{folder}/{file.name}" if folder else file.name for file in files]
    return _starting(incomplete, dict.fromkeys([*names, *shipped_configs(), *models("")]))


def models(incomplete: str) -> list[str]:
    """Complete the catalog's models."""
    from trnbench.catalog.models import models as catalog

    return _starting(incomplete, catalog())


def instances(incomplete: str) -> list[str]:
    """Complete the instance types of the catalog."""
    from trnbench.catalog.instances import instances as catalog

    return _starting(incomplete, catalog())


def engines(incomplete: str) -> list[str]:
    """Complete the engines that jobs are written for."""
    from trnbench.launchers import ENGINES

    return _starting(incomplete, ENGINES)


def regions(incomplete: str) -> list[str]:
    """Complete the regions of the bundled price table."""
    from trnbench.catalog.prices import price_rows

    found = {row.region for row in price_rows() if row.region}
    return _starting(incomplete, sorted(found))


def devices(incomplete: str) -> list[str]:
    """Complete the kinds of devices."""
    from trnbench.config.device import KINDS

    return _starting(incomplete, KINDS)


def metrics(incomplete: str) -> list[str]:
    """Complete the metrics that can be compared."""
    from trnbench.compare.metrics import COMPARABLES

    return _starting(incomplete, COMPARABLES)


def settings(incomplete: str) -> list[str]:
    """Complete KEY=VALUE: the keys of a config and, of a key with few values, those."""
    from trnbench.config.model import Config

    schema = Config.model_json_schema()
    leaves = dict(_leaves(schema, schema, ""))
    key, equals, _ = incomplete.partition("=")
    if equals:
        return _starting(incomplete, (f"{key}={value}" for value in leaves.get(key, ())))
    return _starting(incomplete, (f"{key}=" for key in leaves))


def _leaves(
    node: Mapping[str, Any], schema: Mapping[str, Any], path: str
) -> Iterator[tuple[str, list[str]]]:
    """Yield each dotted key that holds a value, and the values that it can have if they are few."""
    for name, each in node.get("properties", {}).items():
        key = f"{path}{name}"
        branches = [_resolved(part, schema) for part in (each, *each.get("anyOf", ()))]
        inner = next((branch for branch in branches if "properties" in branch), None)
        if inner is not None:
            yield from _leaves(inner, schema, f"{key}.")
        if inner is None or any(branch.get("type") == "string" for branch in branches):
            yield key, [str(value) for branch in branches for value in branch.get("enum", ())]


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in node:
        found: Mapping[str, Any] = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        return found
    return node
