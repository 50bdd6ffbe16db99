"""Plans and results of older formats, which later versions read for ever, as today's."""

from collections.abc import Callable, Mapping
from typing import Any

from trnbench.protocol.orders import PROTOCOL_VERSION

Document = dict[str, Any]


def upgrade_plan(plan: Document) -> Document:
    """Upgrade by one format after another."""
    return _split_data_parallel(_with_sizes(plan) if plan["schema_version"] == 1 else plan)


def _split_data_parallel(plan: Document) -> Document:
    """Say how many replicas there are, and how many shards of each."""
    parallel = dict(plan["parallel"])
    size, kind = parallel.pop("data_parallel_size"), parallel.pop("data_parallel")
    axis = "data_parallel_shard_size" if kind == "fsdp" else "data_parallel_replicate_size"
    return {**plan, "schema_version": 3, "parallel": {**parallel, axis: size}}


def _with_sizes(plan: Document) -> Document:
    """Say the model's sizes beside its shape, and `external` for what was called `guest`."""
    model = _renamed(plan["model"])
    shape, described = model["shape"] or {}, model.get("described") or {}
    sizes = {
        "family": shape.get("family") or model["external"]["kind"],
        "layers": shape.get("layers"),
        "hidden_size": shape.get("hidden_size"),
        "vocabulary_size": described.get("vocabulary_size") or shape["vocabulary_size"],
    }
    return {
        **plan,
        "model": {**model, **sizes},
        "order": _renamed(plan["order"]),
    }


def upgrade_result(result: Document) -> Document:
    """Divide the device into what was planned and what the worker found; name model and code."""
    device, model = result["device"], _renamed(result["model"])
    seen = ("name", "device_count", "is_proven", "threads", "settings", "versions")
    environment = {
        "at_seconds": 0.0,
        "wire_version": PROTOCOL_VERSION,
        "backend": device["backend"],
        "device_name": device["name"],
        "device_count": device["device_count"],
        "asynchronous": device["backend"] != "cpu",
        "proven": device["is_proven"],
        "threads": device["threads"],
        "settings": device["settings"],
        "versions": device["versions"],
    }
    planned = {key: value for key, value in device.items() if key not in seen}
    kind, _, target = (model.get("external") or "").partition(" ")
    external: Document = {
        "kind": kind, "target": target, "arguments": "{}", "checked_keys": [],
    }  # fmt: skip
    return {
        **result,
        "schema_version": 2,
        "model": {**model, "shape": None, "source": "", "external": external if target else None},
        "device": {**planned, "devices_used": device["device_count"], "memory_bytes": None},
        "environment": None if device["name"] is None else environment,
    }


def _renamed(document: Document) -> Document:
    """Return a document with `external` for each key `guest`, at any depth."""
    return {
        "external" if key == "guest" else key: _renamed(value) if isinstance(value, dict) else value
        for key, value in document.items()
    }


UPGRADES: Mapping[str, Callable[[Document], Document]] = {
    "Plan": upgrade_plan,
    "Result": upgrade_result,
}
"""By the model that the file is read as."""
