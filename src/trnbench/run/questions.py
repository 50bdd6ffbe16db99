"""Short tasks: what an interpreter has installed, what it can train on, what a model is.

An external model is read before a device is touched: from the disk (a config.json), and by a worker
that builds it. Plans are made from the answers, and read nothing themselves.
"""

import json
import math
import platform
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from trnbench.catalog.backends import backend_of, best_first
from trnbench.config.device import DeviceConfig
from trnbench.config.load import Conflict
from trnbench.config.model import ModelConfig
from trnbench.errors import ConfigError, TrnbenchError, UnavailableError
from trnbench.machine.describe import Accelerators, Devices
from trnbench.machine.look import ROOT, list_names
from trnbench.machine.neuron import Neuron
from trnbench.model.external import TASKS
from trnbench.plan.external import Describe, KnownExternal, check_values
from trnbench.protocol.model import ExternalKind, ExternalModel, ExternalTask
from trnbench.protocol.orders import DescribeModel, ProbeDevices, TakeInventory, Task
from trnbench.protocol.records import Described, FailureReason, FoundDevice, Inventory, Probe
from trnbench.redact import redact
from trnbench.run.environment import WITHOUT_EXTENSIONS, environment_of_probe
from trnbench.run.outcomes import End
from trnbench.run.worker import converse, start

INVENTORY_SECONDS = 20.0
PROBE_SECONDS = 120.0
"""An accelerator's runtime may take half a minute to come up; a probe longer than this hangs."""
DESCRIBE_SECONDS = 180.0
"""Importing torch and transformers takes some ten seconds where the disk is slow."""

PYTHON_HINT = "name an interpreter that has torch with `--python PATH`"

EXTERNAL_HINT = "importing and building it must come to an end, and leave the process alone"

Answer = TypeVar("Answer", Inventory, Probe, Described)


def ask_worker(
    python: str,
    task: Task,
    kind: type[Answer],
    seconds: float,
    variables: Mapping[str, str] | None = None,
) -> Answer:
    """Start a worker for one task, and return the record of `kind` that it answers with.

    Raises:
        ConfigError: the interpreter cannot be started, or the user's model cannot be trained.
        UnavailableError: it cannot do it, takes longer than `seconds`, dies, or is no Python.
    """
    deadline = time.perf_counter() + seconds

    def check() -> None:
        if time.perf_counter() > deadline:
            raise End("hung", f"no answer within {seconds:.0f} seconds")

    answer: Answer | None = None
    with start(python, [task], [variables or {}]) as job:
        try:
            for _, record in converse(job, check=check):
                if isinstance(record, kind):
                    answer = record
            if answer is not None:
                return answer
            end = End("died", "it ended without an answer")
        except End as early:
            end = early
        output = redact(job.output_tail().strip()).splitlines()
    last = f"; its output ends with: {output[-1][:200]}" if output else ""
    raise _error_of(end, python, task, last)


def _error_of(end: End, python: str, task: Task, last: str) -> TrnbenchError:
    if end.status == "bad_model":
        return ConfigError(redact(end.reason), hint=end.hint or "")
    if end.status in get_args(FailureReason):
        return UnavailableError(redact(end.reason), hint=end.hint or PYTHON_HINT)
    if isinstance(task, DescribeModel):  # it runs the user's code
        how = end.reason if end.status == "hung" else "it ended without an answer"
        return ConfigError(
            f"{how} while the model was imported, built and tried{last}", hint=EXTERNAL_HINT
        )
    return UnavailableError(
        f"{python}: is not a Python interpreter with torch{last}", hint=PYTHON_HINT
    )


# --- what is installed, and what it can train on --------------------------------------------------


def take_inventory(python: str, seconds: float = INVENTORY_SECONDS) -> Inventory:
    """Return what an interpreter has installed; nothing of it is imported."""
    return ask_worker(python, TakeInventory(), Inventory, seconds)


def try_inventory(python: str, seconds: float = INVENTORY_SECONDS) -> tuple[Inventory | None, str]:
    """Return what an interpreter has installed, or None with the reason."""
    try:
        return take_inventory(python, seconds), ""
    except UnavailableError as error:
        return None, redact(str(error))


def probe_devices(python: str, inventory: Inventory | None = None) -> Devices:
    """Return the devices that an interpreter can train on, best first; it imports torch.

    Raises:
        ConfigError: the interpreter cannot be started.
        UnavailableError: it has no torch, hangs, dies, or is no Python.
    """
    inventory = inventory or take_inventory(python)
    variables = environment_of_probe(inventory.neuron)
    broken: list[FoundDevice] = []
    try:
        probe = ask_worker(python, ProbeDevices(), Probe, PROBE_SECONDS, variables)
    except UnavailableError as error:
        if variables or BROKEN_EXTENSION not in str(error):
            raise
        # It hides itself alone: torch's own devices are there without it.
        probe = ask_worker(python, ProbeDevices(), Probe, PROBE_SECONDS, WITHOUT_EXTENSIONS)
        broken = [_broken(name) for name in inventory.entry_points.get("torch.backends", ())]
    found = sorted([*broken, *probe.devices], key=lambda device: best_first(device.backend))
    return Devices(tuple(found), probe.versions)


BROKEN_EXTENSION = "Failed to load the backend extension"
"""Source: torch 2.13, torch/__init__.py, `_import_device_backends`."""


def _broken(name: str) -> FoundDevice:
    return FoundDevice(
        backend=name,
        device_name=name,
        device_count=0,
        proven=False,
        supported=False,
        note=f"its extension of torch cannot be imported: `python -c 'import {name}'` in that "
        "environment says why",
    )


DEVICE_FILES = ("dev/kfd", "dev/dri/renderD*", "dev/accel/*", "dev/nvidia*", "dev/dxg")
"""Of ROCm, of GPUs with an open driver, of the kernel's class of accelerators, of NVIDIA, and of a
GPU that Windows passes to Linux."""


def processor_alone(
    inventory: Inventory, seen: Accelerators, root: Path = ROOT, system: str | None = None
) -> Devices | None:
    """Return the processor where torch could find nothing else, without importing it; else None.

    So it is on Linux where torch is installed, no package adds a device to it, and neither the
    kernel nor a vendor's tool shows an accelerator.
    """
    is_plain = (
        "torch" in inventory.versions
        and "torch-xla" not in inventory.versions
        and inventory.neuron is None
        and not inventory.entry_points.get("torch.backends")
    )
    is_shown = (
        seen.neuron.is_here
        or seen.nvidia.is_here
        or any(list_names(root, pattern) for pattern in DEVICE_FILES)
    )
    if not is_plain or is_shown or (system or platform.system()) != "Linux":
        return None
    versions = {"python": inventory.python, "torch": inventory.versions["torch"]}
    return Devices((inventory.processor,), versions)


def with_chips(devices: Devices, seen: Neuron) -> Devices:
    """Add what the vendor's tool says of Neuron's chips, which a probe must not touch."""
    return replace(devices, found=tuple(_with_chips(device, seen) for device in devices.found))


def _with_chips(device: FoundDevice, seen: Neuron) -> FoundDevice:
    if not backend_of(device.backend).is_counted_by_tool or not device.supported:
        return device
    if not seen.is_here:
        note = f"no Neuron chip is plugged in ({seen.reason or 'neuron-ls and /dev show none'})"
        return replace(device, supported=False, note=note)
    family = (seen.instance or device.backend).partition(".")[0]
    return replace(device, device_name=family, device_count=seen.logical_cores or 1)


def require_device(asked: DeviceConfig, devices: Devices) -> FoundDevice:
    """Return the device of the kind that is asked for, or the best one.

    Raises:
        UnavailableError: it is not here, this version cannot drive it, `auto` would have to pass
            over an accelerator that is here, or there are not so many.
    """
    usable = [device.backend for device in devices.found if device.supported]
    device = next((d for d in devices.found if asked.kind in ("auto", d.backend)), None)
    if device is None:
        found = ", ".join(usable) or "nothing"
        raise UnavailableError(
            f"device {str(asked)!r} is not here; that interpreter's torch can use: {found}",
            hint="check its driver, or use `--device auto`, or another interpreter by "
            "`--python PATH`",
        )
    if not device.supported:
        raise UnavailableError(
            f"device {device.backend!r} is here, but {device.note or 'cannot be used'}",
            hint=f"to train on another, name it: --device {' | '.join(usable)}",
        )
    last = device.device_count - 1
    is_counted = not backend_of(device.backend).is_host
    if is_counted and asked.last is not None and asked.last > last:
        raise UnavailableError(
            f"device {asked} is not here: there are {device.device_count}, counted from 0",
            hint=f"use {device.backend}:0{f' to {device.backend}:{last}' if last else ''}",
        )
    return device


# --- external models ------------------------------------------------------------------------------

LAYER_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
CLASS_NAME = re.compile(r"[A-Z]\w*")
FUNCTION_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def describer(python: str) -> Describe:
    """Return a function that has the interpreter describe an external model, each model once.

    It raises a `Conflict` where there is no such class, function or file, or where the model cannot
    be trained, and an `UnavailableError` where the interpreter cannot answer.
    """
    known: dict[str, KnownExternal] = {}

    def describe(model: ModelConfig, sequence_length: int) -> KnownExternal:
        key = f"{model.model_dump_json()} {sequence_length}"
        if key not in known:
            external = external_of(model)
            task = DescribeModel(external=external, sequence_length=sequence_length)
            try:
                described = ask_worker(
                    python, task, Described, DESCRIBE_SECONDS, WITHOUT_EXTENSIONS
                )
            except ConfigError as error:
                hint = error.problems[0].hint
                raise Conflict(f"model.{external.kind}", f"{error}", hint=hint) from None
            external = replace(external, vocabulary_size=described.vocabulary_size)
            known[key] = KnownExternal(external, described)
        return known[key]

    return describe


def external_of(model: ModelConfig) -> ExternalModel:
    """Return the external model of a config; a config.json is read from the disk."""
    _check_alone(model)
    given = model.config or {}
    if model.python is None:
        kind: ExternalKind = "huggingface"
        target, values = _class_and_values(model.huggingface or "", given)
        task = _task_of(target, values)
        check_values({**values, **given})
    else:
        kind, target, values, task = "python", model.python, {}, "next_token"
        if not FUNCTION_NAME.fullmatch(target):
            raise Conflict(
                "model.python",
                f"{target!r} names no function",
                hint="write package.module:function",
            )
    return ExternalModel(
        kind=kind,
        target=target,
        arguments=json.dumps({**_cut_along(values, given), **given}, sort_keys=True),
        checked_keys=sorted(given),
        file_keys=sorted(values),
        task=task,
    )


def _check_alone(model: ModelConfig) -> None:
    """Refuse our own sizes beside an external model, which has its own."""
    allowed = {"name", "huggingface", "python", "config", "small"}
    extra = sorted(model.model_dump(exclude_none=True).keys() - allowed)
    named = "python" if model.huggingface is None else "huggingface"
    if model.huggingface is not None and model.python is not None:
        extra = ["python"]
    if extra:
        raise Conflict(
            f"model.{extra[0]}",
            f"does not go with model.{named}",
            hint="give its sizes under `model.config`, by the names that it has for them",
        )


def _class_and_values(named: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if CLASS_NAME.fullmatch(named):
        return named, {}
    path = Path(named)
    path = path / "config.json" if path.is_dir() else path
    if path.suffix != ".json":
        raise Conflict(
            "model.huggingface",
            f"{named!r} is neither a class nor the path of a config.json",
            hint="nothing is downloaded: name a class as LlamaForCausalLM, or save the model's "
            "config.json and name that",
        )
    if path.is_fifo():  # it would be waited for without an end
        raise Conflict("model.huggingface", f"{named} is a pipe", hint="name a file")
    try:
        document = read_json_object(path.read_text(encoding="utf-8-sig"))
        classes: Any = given.get("architectures") or document.get("architectures")
        target = classes if isinstance(classes, str) else classes[0]
    except OSError as error:
        raise Conflict(
            "model.huggingface",
            f"{named} cannot be read: {error.strerror}",
            hint="paths count from the folder that trnbench is run in",
        ) from error
    except ValueError as error:
        raise Conflict(
            "model.huggingface",
            f"{named} is no config: {error}",
            hint="save the model's config.json again: JSON, whose numbers are finite",
        ) from error
    except (TypeError, IndexError, KeyError):
        raise Conflict(
            "model.huggingface",
            f"{named} does not name its class",
            hint="add e.g. `architectures: [LlamaForCausalLM]` under `model.config`",
        ) from None
    return str(target), document


def _cut_along(values: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's values, its lists with one entry a block cut to fewer blocks."""
    for key in LAYER_KEYS:
        before, after = values.get(key), given.get(key)
        if isinstance(before, int) and isinstance(after, int) and 0 < after < before:
            return {
                name: value[:after] if isinstance(value, list) and len(value) == before else value
                for name, value in values.items()
            }
    return values


def read_json_object(text: str) -> dict[str, Any]:
    """Read a JSON object; raise `ValueError` for another value, a key twice, or no number."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"it has the key {' and the key '.join(map(repr, twice))} twice")
        bad = next((key for key, v in pairs if isinstance(v, float) and not math.isfinite(v)), None)
        if bad is not None:
            raise ValueError(f"{bad} is {dict(pairs)[bad]}, which is no number in JSON")
        return dict(pairs)

    document = json.loads(text, object_pairs_hook=once)
    if not isinstance(document, dict):
        raise ValueError(f"it holds a {type(document).__name__}, not names with values")
    return document


def _task_of(target: str, values: Mapping[str, Any]) -> ExternalTask:
    for end, task in TASKS.items():
        if target.endswith(end):
            return task
    hint = f"name a class that ends in {', '.join(TASKS)}; or wrap yours with `model.python`"
    near = [end for end in TASKS if target.lower().endswith(end.lower())]
    if near:
        hint = f"did you mean {target[: -len(near[0])]}{near[0]}?"
    elif isinstance(values.get("text_config"), dict):
        decoder = target.removesuffix("ForConditionalGeneration") + "ForCausalLM"
        hint = (
            "its text model stands under `text_config`: save that as a file of its own, with the "
            f"class of its decoder, e.g. `architectures: [{decoder}]`"
        )
    elif values.get("auto_map"):
        hint = (
            "its code comes with its weights (auto_map) and is not run; name a class of "
            f"transformers that ends in {', '.join(TASKS)}, or wrap the code by `model.python`"
        )
    elif target.endswith("ForImageClassification"):
        hint = "images are for trnbench's own models: `model: vit-b16`, or sizes of `family: vit`"
    raise Conflict(
        "model.huggingface",
        f"{target} has no loss that the token stream is for",
        hint=hint,
    )
