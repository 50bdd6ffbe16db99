"""Plans and results of format 1, which later versions read for ever, as they are written today."""

from collections.abc import Callable, Mapping
from typing import Any

from trnbench.wire import WIRE_VERSION

Document = dict[str, Any]


def upgrade_plan(plan: Document) -> Document:
    """Say the model's sizes beside its shape."""
    model = plan["model"]
    shape, described = model["shape"] or {}, model.get("described") or {}
    sizes = {
        "family": shape.get("family") or model["guest"]["kind"],
        "layers": shape.get("layers"),
        "hidden_size": shape.get("hidden_size"),
        "vocabulary_size": described.get("vocabulary_size") or shape["vocabulary_size"],
    }
    return {**plan, "schema_version": 2, "model": {**model, **sizes}}


def upgrade_result(result: Document) -> Document:
    """Divide the device into what was planned and what the worker found; name model and code."""
    device, model = result["device"], result["model"]
    seen = ("name", "device_count", "is_proven", "threads", "settings", "versions")
    environment = {
        "at_seconds": 0.0,
        "wire_version": WIRE_VERSION,
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
    kind, _, target = (model.get("guest") or "").partition(" ")
    guest: Document = {
        "kind": kind, "target": target, "arguments": "{}", "checked_keys": [],
    }  # fmt: skip
    return {
        **result,
        "schema_version": 2,
        "model": {**model, "shape": None, "source": "", "guest": guest if target else None},
        "device": {**planned, "devices_used": device["device_count"], "memory_bytes": None},
        "environment": None if device["name"] is None else environment,
    }


UPGRADES: Mapping[str, Callable[[Document], Document]] = {
    "Plan": upgrade_plan,
    "Result": upgrade_result,
}
"""By the model that the file is read as."""
