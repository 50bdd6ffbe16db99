"""The child, in the order of events: read the order, open the device, build, train, end.

It sends records and obeys commands. It prints nothing, prices nothing, judges nothing and decides
nothing: how many steps to run next is the parent's to say.
"""

import argparse
import contextlib
import gc
import math
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from trnbench.protocol.orders import (
    PROTOCOL_VERSION,
    DescribeModel,
    Finish,
    Microbench,
    ProbeDevices,
    ProfileSteps,
    RunBlock,
    TakeInventory,
    Train,
    WorkOrder,
)
from trnbench.protocol.records import (
    Activity,
    Block,
    Built,
    Ceiling,
    Described,
    Environment,
    Failed,
    Finished,
    Inventory,
    Memory,
    Parity,
    Phase,
    Probe,
    WeightUpdate,
)
from trnbench.train.channel import Channel, TorchMissingError, VendorErrors, describe_failure
from trnbench.train.software import (
    entry_points,
    find_processor,
    installed_versions,
    neuron_generation,
)


def main(arguments: Sequence[str]) -> None:
    """Run one child to its end; every way out is a record."""
    parser = argparse.ArgumentParser(prog="trnbench worker")
    parser.add_argument("--records-fd", type=int, default=1)
    # Libraries print what they like to descriptor 1; records have a descriptor of their own.
    with os.fdopen(parser.parse_args(arguments).records_fd, "wb") as records:
        channel = Channel(records, sys.stdin.buffer)
        try:
            task = channel.receive_task()
            DO[type(task)](task, channel)
        except BaseException as error:  # noqa: BLE001 - the last line: whatever it is, it is told
            channel.send(Failed, **describe_failure(error))
    # Some runtimes abort in their own teardown, after the work is done and told.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def take_inventory(_task: TakeInventory, channel: Channel) -> None:
    """Say what is installed, in a tenth of a second: nothing is imported."""
    channel.send(
        Inventory,
        wire_version=PROTOCOL_VERSION,
        python=platform.python_version(),
        versions=installed_versions(),
        neuron=neuron_generation(),
        processor=find_processor(),
        entry_points=entry_points(),
    )
    channel.send(Finished, steps=0)


def probe_devices(_task: ProbeDevices, channel: Channel) -> None:
    """Say which devices are here, without claiming one."""
    channel.send(Phase, name="probe")
    _import_torch()
    from trnbench.train.backends import find_devices

    channel.send(
        Probe, wire_version=PROTOCOL_VERSION, devices=find_devices(), versions=_library_versions()
    )
    channel.send(Finished, steps=0)


def describe_model(task: DescribeModel, channel: Channel) -> None:
    """Say what an external model is, without touching a device."""
    _import_torch()
    from trnbench.train.describe import describe

    channel.send(Described, wire_version=PROTOCOL_VERSION, **describe(task))
    channel.send(Finished, steps=0)


def microbench(task: Microbench, channel: Channel) -> None:
    """Time the single operations that a task names."""
    channel.send(Phase, name="probe")
    _import_torch()
    from trnbench.train.backends import backend_class
    from trnbench.train.microbench import claim_of, measure_peaks

    backend = backend_class(task.backend).open(claim_of(task))
    with VendorErrors(backend):
        _send_environment(backend, channel, {}, device_count=task.ranks)
        channel.send(Phase, name="ceiling")
        measure_peaks(task, backend, channel)
        channel.send(Finished, steps=0)
        backend.close()


def train(task: Train, channel: Channel) -> None:
    """Carry out one order."""
    order = task.order
    with _opened(order, channel) as backend:
        from trnbench.train.build import make_stream
        from trnbench.train.loop import TrainingStep

        if order.gate is not None:
            _send_gate(order, backend, channel)
        if order.measure_ceiling:
            _send_ceiling(order, backend, channel)
        channel.send(Phase, name="build")
        step = TrainingStep(_build(order, backend, channel), order, backend)
        stream = make_stream(order)
        channel.send(Phase, name="train")
        _obey(order, step, stream, backend, channel)
        channel.send(Phase, name="teardown")
        peak_bytes, counted = backend.peak_memory_bytes()
        channel.send(Memory, peak_bytes=peak_bytes, counted=counted)
        if order.measure_ceiling and backend.is_shared:
            # Once more: what kept the processor busy before may be gone, or have come.
            _send_ceiling(order, backend, channel)
        channel.send(Finished, steps=step.steps_done)


def profile(task: ProfileSteps, channel: Channel) -> None:
    """Say where the time of an order's steps goes."""
    with _opened(task.order, channel) as backend:
        from trnbench.train.profiler import profile_steps

        channel.send(Phase, name="build")
        profile_steps(task, _build(task.order, backend, channel), backend, channel)


DO: dict[type, Callable[[Any, Channel], None]] = {
    TakeInventory: take_inventory,
    ProbeDevices: probe_devices,
    DescribeModel: describe_model,
    Microbench: microbench,
    Train: train,
    ProfileSteps: profile,
}


@contextlib.contextmanager
def _opened(order: WorkOrder, channel: Channel) -> Iterator[Any]:
    """Open the order's device, say what it is, and explain its errors until it is closed."""
    channel.send(Phase, name="probe")
    _import_torch()
    from trnbench.train.backends import backend_class
    from trnbench.train.backends.base import Claim

    kind = backend_class(order.backend)
    claim = Claim(
        precision=order.precision,
        execution=order.execution,
        threads=order.threads,
        index=order.device_index,
    )
    backend = kind.open(claim)
    with VendorErrors(backend):
        _send_environment(backend, channel, _versions_of_external(order))
        yield backend
        backend.close()


def _send_environment(
    backend: Any, channel: Channel, versions: Mapping[str, str], device_count: int = 1
) -> None:
    import torch

    from trnbench.train.loop import clock_step_seconds

    channel.send(
        Environment,
        wire_version=PROTOCOL_VERSION,
        backend=backend.name,
        device_name=backend.device_name(),
        device_count=device_count,
        asynchronous=backend.is_asynchronous,
        proven=backend.is_proven,
        threads=torch.get_num_threads() if backend.name == "cpu" else None,
        versions={**_library_versions(), **versions, **backend.versions()},
        settings=dict(backend.settings()),
        clock_step_seconds=clock_step_seconds(),
    )


def _obey(order: WorkOrder, step: Any, stream: Any, backend: Any, channel: Channel) -> None:
    """Run blocks of steps as commanded, until told to finish."""
    from trnbench.train.loop import prepare_tokens, timed_block
    from trnbench.train.parity import WeightSample

    weights = None if order.gate is None else WeightSample(step.model, _adapters(order, step.model))
    before = backend.compilations()
    # What stands now stays to the end: the collector need not look at it in every pause.
    gc.collect()
    gc.freeze()
    told: dict[str, Any] | None = None
    is_measuring = False
    while not isinstance(command := channel.receive(), Finish):
        if command.purpose == "measure" and not is_measuring:
            backend.forbid_recompiles()
            is_measuring = True
        first_step = step.steps_done
        gc.collect()
        gc.disable()
        began = channel.now()
        prepared = prepare_tokens(stream, order, first_step, command.steps, backend)
        prepare_seconds = channel.now() - began
        timed = timed_block(step.run, prepared, backend.synchronize, backend.timer())
        gc.enable()
        block = _block(command, first_step, prepare_seconds, timed, prepared)
        # Before the block: the parent decides upon that, and must know whether it compiled.
        activity = _activity(backend, before)
        if activity != told:
            channel.send(Activity, steps=step.steps_done, **activity)
            told = activity
        channel.send(Block, **block)
        if weights is not None:
            channel.send(WeightUpdate, **weights.moved(step.steps_done))
            weights = None


def _adapters(order: WorkOrder, model: Any) -> list[str] | None:
    """Return what a first step moves where adapters alone are trained: not those below zeros."""
    if order.step.lora is None:
        return None
    return [name for name, _ in model.named_parameters() if name.endswith("adapter_out")]


def _block(
    command: RunBlock,
    first_step: int,
    prepare_seconds: float,
    timed: Any,
    prepared: Sequence[Any],
) -> dict[str, Any]:
    """Return what is told of some steps, as the fields of a `Block`."""
    return {
        "purpose": command.purpose,
        "first_step": first_step,
        "steps": command.steps,
        "seconds": timed.seconds,
        "prepare_seconds": prepare_seconds,
        "event_seconds": timed.event_seconds,
        "losses": [_finite(loss.item()) for loss in timed.outcomes.losses],
        "gradient_norms": [_finite(norm.item()) for norm in timed.outcomes.gradient_norms],
        "oracle_losses": [tokens.oracle_loss for tokens in prepared],
        "expert_imbalances": [_finite(i.item()) for i in timed.outcomes.imbalances] or None,
    }


def _activity(backend: Any, before: Any) -> dict[str, Any]:
    """Return what the device's software has done for this model, as the fields of an `Activity`."""
    made = backend.compilations().since(before)
    return {
        "graphs": made.graphs,
        "compilations": made.programs,
        "cache_hits": made.cache_hits,
        "compile_seconds": list(made.seconds),
        "fallback_ops": backend.fallback_ops(),
    }


def _send_gate(order: WorkOrder, backend: Any, channel: Channel) -> None:
    from trnbench.train.parity import run_parity_gate
    from trnbench.train.reference import cache_folder

    channel.send(Phase, name="gate")
    channel.send(Parity, **run_parity_gate(order, backend, cache_folder()))


def _send_ceiling(order: WorkOrder, backend: Any, channel: Channel) -> None:
    from trnbench.train.microbench import measure_ceiling
    from trnbench.train.precision import ceiling_dtypes

    channel.send(Phase, name="ceiling")
    for dtype in ceiling_dtypes(order.precision):
        points = measure_ceiling(backend, dtype)
        channel.send(Ceiling, dtype=str(dtype).removeprefix("torch."), points=points)
        backend.empty_cache()  # or the model's peak of memory would hold what the matmuls had


def _build(order: WorkOrder, backend: Any, channel: Channel) -> Any:
    """Build what is trained, and count what stands on the device."""
    from trnbench.train.build import (
        build_objective,
        bytes_of,
        is_tied,
        places_of,
        trained_parameters,
    )

    backend.reset_peak_memory()
    objective = build_objective(order, backend)
    parameters = list(objective.parameters())
    channel.send(
        Built,
        parameter_count=sum(p.numel() for p in parameters),
        parameter_bytes=bytes_of(parameters),
        embeddings_are_tied=is_tied(objective.model),
        placement=places_of(parameters),
        trained_count=sum(p.numel() for p in trained_parameters(objective)),
    )
    return objective


def _import_torch() -> Any:
    """Import torch, or say what is missing.

    Raises:
        Unavailable: there is none, or it is broken.
    """
    try:
        import torch
    except (ImportError, OSError) as error:
        version = platform.python_version()
        raise TorchMissingError(f"Python {version} cannot import torch: {error}") from error
    return torch


def _library_versions() -> dict[str, str]:
    import torch

    return {"python": platform.python_version(), "torch": torch.__version__}


def _versions_of_external(order: WorkOrder) -> dict[str, str]:
    """Return the version of the library whose class is trained: it decides what the model is."""
    if order.external is None or order.external.kind != "huggingface":
        return {}
    from trnbench.train.backends.base import version_of

    return {"transformers": version_of("transformers") or "unknown"}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
