"""The worker, in the order of events: read the task, open the device, build, train, end.

It sends records and obeys commands; the parent decides how many steps come next, and judges.
"""

import argparse
import contextlib
import faulthandler
import gc
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trnbench.protocol import orders, records
from trnbench.protocol.parallel import ALONE, Layout, Replica, Seat, Seated
from trnbench.train.binding import bind
from trnbench.train.channel import Channel, KnownFailure, describe_failure, explaining, finite
from trnbench.train.parallel.link import carry
from trnbench.train.software import (
    entry_points,
    find_processor,
    installed_versions,
    library_versions,
    neuron_generation,
    no_torch,
)

if TYPE_CHECKING:  # torch is imported by the tasks that need it, and an inventory needs none
    from trnbench.train.backends.base import Backend
    from trnbench.train.data import Stream
    from trnbench.train.loop import StepTokens, Timed, TrainingStep
    from trnbench.train.objective import Trainable
    from trnbench.train.parallel.mesh import Mesh
    from trnbench.train.software import Compilations


def main(arguments: Sequence[str]) -> None:
    """Do one task; its last record is `Finished`, or `Failed` with what went wrong."""
    # A parent that takes the job for hung asks so for each thread's stack; no lock is needed.
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)
    parser = argparse.ArgumentParser(prog="trnbench worker")
    parser.add_argument("--records-fd", type=int, default=1)
    # Libraries print to descriptor 1, so records have another.
    with os.fdopen(parser.parse_args(arguments).records_fd, "wb") as pipe:
        channel = Channel(pipe, sys.stdin.buffer)
        try:
            task = channel.receive_task()
            DO[type(task)](task, channel)
        except BaseException as error:  # noqa: BLE001 - the parent reports it, whatever it is
            channel.send(records.Failed, **describe_failure(error))
    # Some runtimes abort in their own teardown, after the last record.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def take_inventory(_task: orders.TakeInventory, channel: Channel) -> None:
    """Send what is installed, in a tenth of a second: nothing is imported."""
    channel.send(
        records.Inventory,
        wire_version=orders.PROTOCOL_VERSION,
        python=platform.python_version(),
        versions=installed_versions(),
        neuron=neuron_generation(),
        processor=find_processor(),
        entry_points=entry_points(),
    )
    channel.send(records.Finished, steps=0)


def probe_devices(_task: orders.ProbeDevices, channel: Channel) -> None:
    """Send which devices are here, without claiming one."""
    channel.send(records.Phase, name="probe")
    _import_torch()
    from trnbench.train.backends import find_devices

    channel.send(
        records.Probe,
        wire_version=orders.PROTOCOL_VERSION,
        devices=find_devices(),
        versions=library_versions(),
    )
    channel.send(records.Finished, steps=0)


def describe_model(task: orders.DescribeModel, channel: Channel) -> None:
    """Send what an external model is, without touching a device."""
    _import_torch()
    from trnbench.train.describe import describe

    channel.send(records.Described, wire_version=orders.PROTOCOL_VERSION, **describe(task))
    channel.send(records.Finished, steps=0)


def microbench(task: orders.Microbench, channel: Channel) -> None:
    """Time the single operations that a task names."""
    with _opened(task, channel, task.seat) as (backend, mesh):
        from trnbench.train.microbench import measure_peaks

        channel.send(records.Phase, name="ceiling")
        measure_peaks(task, backend, channel)
        _finish(mesh, channel, 0)


def train(task: orders.Train, channel: Channel) -> None:
    """Train as one order says, block by block as the parent commands."""
    order = task.order
    with _opened(order, channel, task.seat) as (backend, mesh):
        from trnbench.train.build import make_stream
        from trnbench.train.loop import TrainingStep

        if order.gate is not None:
            _send_parity(order, backend, mesh, channel)
        if order.measure_ceiling:
            _send_ceiling(order, backend, channel)
        channel.send(records.Phase, name="build")
        step = TrainingStep(_build(order, backend, mesh, channel), order, backend, mesh)
        stream = make_stream(order)
        _send_seated(order, step, backend, mesh, channel)
        channel.send(records.Phase, name="train")
        finish = _obey(order, step, stream, backend, mesh, channel)
        channel.send(records.Phase, name="teardown")
        peak_bytes, counted = backend.peak_memory_bytes()
        channel.send(records.Memory, peak_bytes=peak_bytes, counted=counted)
        if order.measure_ceiling and backend.is_shared:
            # Once more: other load on the processor may have ended or begun.
            _send_ceiling(order, backend, channel)
        _send_replica(step, mesh, channel)
        if not mesh.is_alone:  # last: whatever it comes to, all else was measured
            from trnbench.train.parallel import communication

            communication.profile_communication(
                finish.communication_steps, step, stream, order, backend, mesh, channel
            )
            if finish.times_all_reduce:
                communication.time_all_reduce(backend, mesh, channel)
        _finish(mesh, channel, step.steps_done)


def profile(task: orders.ProfileSteps, channel: Channel) -> None:
    """Send where the time of an order's steps goes."""
    with _opened(task.order, channel, task.seat) as (backend, mesh):
        from trnbench.train.profiler import profile_steps

        channel.send(records.Phase, name="build")
        objective = _build(task.order, backend, mesh, channel)
        steps = profile_steps(task, objective, backend, mesh, channel)
        _finish(mesh, channel, steps)


def _finish(mesh: "Mesh", channel: Channel, steps: int) -> None:
    """Send the last record once all ranks are done, and then leave them.

    A device's software may crash as its groups end, and what is measured is right all the same.
    """
    mesh.barrier()
    channel.send(records.Finished, steps=steps)
    mesh.leave()


DO: dict[type, Callable[[Any, Channel], None]] = {
    orders.TakeInventory: take_inventory,
    orders.ProbeDevices: probe_devices,
    orders.DescribeModel: describe_model,
    orders.Microbench: microbench,
    orders.Train: train,
    orders.ProfileSteps: profile,
    orders.JoinNodes: carry,
}


@contextlib.contextmanager
def _opened(
    work: orders.WorkOrder | orders.Microbench, channel: Channel, seat: Seat = ALONE
) -> "Iterator[tuple[Backend, Mesh]]":
    """Join the other ranks, then open a device, and send what it is; close it after the work.

    While work is done on the device, its errors are explained.
    """
    channel.send(records.Phase, name="probe")
    bound = bind(seat.processors)
    _import_torch()
    from trnbench.train.backends import backend_class
    from trnbench.train.backends.base import Claim
    from trnbench.train.parallel.data import compiled_part
    from trnbench.train.parallel.mesh import Mesh

    kind = backend_class(work.backend)
    claim = Claim(threads=work.threads, index=work.device_index)
    layout = Layout(data_parallel_replicate_size=seat.world_size)
    choices: dict[str, str] = {}
    if isinstance(work, orders.WorkOrder):
        claim = replace(claim, precision=work.precision, execution=work.execution)
        layout = work.layout
        part = compiled_part(work)
        choices = {} if part is None else {"compiled": part}
    if not seat.is_alone:
        claim = replace(claim, index=kind.index_of(work.device_index, seat.local_rank))
        choices["numa_binding"] = bound
    mesh = Mesh.join(seat, layout, kind, claim.index)
    backend = kind.open(claim)
    with explaining(backend):
        mesh.lay_out(backend.device)
        if not mesh.is_alone and kind.compiles_in_turn:
            backend.in_turn = mesh.turns().in_turn
        _send_environment(work, backend, channel, choices)
        yield backend, mesh
        backend.close()


def _send_environment(
    work: orders.WorkOrder | orders.Microbench,
    backend: "Backend",
    channel: Channel,
    choices: dict[str, str],
) -> None:
    import torch

    from trnbench.train.loop import clock_step_seconds

    if isinstance(work, orders.WorkOrder):
        external, ranks = work.external, work.layout.world_size
    else:
        external, ranks = None, work.seat.world_size
    channel.send(
        records.Environment,
        wire_version=orders.PROTOCOL_VERSION,
        backend=backend.name,
        device_name=backend.device_name(),
        device_count=ranks,
        asynchronous=backend.is_asynchronous,
        proven=backend.is_proven,
        threads=torch.get_num_threads() if backend.name == "cpu" else None,
        versions={**library_versions(external), **backend.versions()},
        settings={**backend.settings(), **choices},
        clock_step_seconds=clock_step_seconds(),
    )


def _send_parity(
    order: orders.WorkOrder, backend: "Backend", mesh: "Mesh", channel: Channel
) -> None:
    from trnbench.train.parity import run_parity_gate
    from trnbench.train.reference import cache_folder

    channel.send(records.Phase, name="gate")
    channel.send(records.Parity, **run_parity_gate(order, backend, cache_folder(), mesh=mesh))


def _send_ceiling(order: orders.WorkOrder, backend: "Backend", channel: Channel) -> None:
    from trnbench.train.microbench import measure_ceiling
    from trnbench.train.precision import ceiling_dtypes

    channel.send(records.Phase, name="ceiling")
    for dtype in ceiling_dtypes(order.precision):
        points = measure_ceiling(backend, dtype)
        channel.send(records.Ceiling, dtype=str(dtype).removeprefix("torch."), points=points)
        backend.empty_cache()  # the model's peak memory must not include the matmuls'


def _build(
    order: orders.WorkOrder, backend: "Backend", mesh: "Mesh", channel: Channel
) -> "Trainable":
    from trnbench.train.build import build_objective, describe_built

    backend.reset_peak_memory()
    objective = build_objective(order, backend, mesh)
    channel.send(records.Built, **describe_built(objective))
    return objective


def _send_seated(
    order: orders.WorkOrder,
    step: "TrainingStep",
    backend: "Backend",
    mesh: "Mesh",
    channel: Channel,
) -> None:
    """Send what this rank of several drives, and the digest of what it is about to run."""
    if mesh.is_alone:
        return
    from trnbench.train.parallel.agreement import program_digest

    channel.send(
        Seated,
        rank=mesh.rank,
        node=mesh.seat.node,
        device=str(backend.device),
        device_id=backend.device_id(),
        process_group=mesh.library(backend.device),
        program=program_digest(order, step.model, backend, mesh),
    )


def _send_replica(step: "TrainingStep", mesh: "Mesh", channel: Channel) -> None:
    """Send a digest of this rank's weights: replicas must have the same."""
    if mesh.is_alone:
        return
    from trnbench.train.parallel.agreement import weights_digest

    digest = weights_digest(step.model)
    channel.send(Replica, rank=mesh.rank, steps=step.steps_done, digest=digest)


def _obey(
    order: orders.WorkOrder,
    step: "TrainingStep",
    stream: "Stream",
    backend: "Backend",
    mesh: "Mesh",
    channel: Channel,
) -> orders.Finish:
    """Run blocks of steps as the parent commands, until it commands to finish."""
    from trnbench.train.loop import prepare_tokens, timed_block
    from trnbench.train.parity import WeightSample

    weights = None
    if order.gate is not None:
        weights = WeightSample(step.model, is_adapted=order.step.lora is not None)
    before = backend.compilations()
    # The model and its optimizer live to the end: no pause need search them for garbage.
    gc.collect()
    gc.freeze()
    sent: dict[str, Any] | None = None
    is_measuring = False
    while not isinstance(command := channel.receive(), orders.Finish):
        if command.purpose == "measure" and not is_measuring:
            backend.forbid_recompiles()
            is_measuring = True
        first_step = step.steps_done
        gc.collect()
        gc.disable()
        began = channel.now()
        prepared = prepare_tokens(stream, order, first_step, command.steps, backend, mesh)
        prepare_seconds = channel.now() - began
        timed = timed_block(
            step.run, prepared, backend.synchronize, backend.timer(), meet=mesh.barrier
        )
        gc.enable()
        block = _block(command, first_step, prepare_seconds, timed, prepared)
        # Before the block: the parent decides upon that, and must know whether it compiled.
        activity = _activity(backend, before)
        if activity != sent:
            channel.send(records.Activity, steps=step.steps_done, **activity)
            sent = activity
        channel.send(records.Block, **block)
        if weights is not None:
            channel.send(records.WeightUpdate, **weights.moved(step.steps_done, order))
            weights = None
    return command


def _block(
    command: orders.RunBlock,
    first_step: int,
    prepare_seconds: float,
    timed: "Timed",
    prepared: "Sequence[StepTokens]",
) -> dict[str, Any]:
    """Return the fields of a `Block`; its losses are read here, after the clock has stopped."""
    outcomes = timed.outcomes
    return {
        "purpose": command.purpose,
        "first_step": first_step,
        "steps": command.steps,
        "seconds": timed.seconds,
        "prepare_seconds": prepare_seconds,
        "event_seconds": timed.event_seconds,
        "losses": [finite(loss.item()) for loss in outcomes.losses],
        "gradient_norms": [finite(norm.item()) for norm in outcomes.gradient_norms],
        "oracle_losses": [tokens.oracle_loss for tokens in prepared],
        "expert_imbalances": [finite(i.item()) for i in outcomes.imbalances] or None,
    }


def _activity(backend: "Backend", before: "Compilations") -> dict[str, Any]:
    """Return what the device's software has done for this model, as the fields of an `Activity`."""
    made = backend.compilations().since(before)
    return {
        "graphs": made.graphs,
        "compilations": made.programs,
        "cache_hits": made.cache_hits,
        "compile_seconds": list(made.seconds),
        "fallback_ops": backend.fallback_ops(),
    }


def _import_torch() -> None:
    try:
        import torch  # noqa: F401
    except MemoryError:
        raise
    except Exception as error:  # a torch that is damaged may raise anything
        said, hint = no_torch(error)
        raise KnownFailure(said, reason="unavailable", hint=hint) from error
