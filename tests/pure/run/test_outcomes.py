"""How a worker that did as it was told ends: with a figure, or without the time for one."""

from dataclasses import replace

import pytest

from trnbench.protocol.records import Failed
from trnbench.run.outcomes import of_death, of_failure, of_finish


def test_enough_samples_are_a_finish_whatever_stopped_them() -> None:
    for stopped in ("precise", "max_samples", "max_minutes", "max_usd"):
        end = of_finish(3, 46.1, stopped)
        assert (end.status, end.reason) == ("finished", "3 samples in 46.1 s")


@pytest.mark.parametrize(
    ("samples", "stopped", "reason", "hint"),
    [
        (
            0, "max_minutes", "measure.max_minutes was used up before a sample was timed (46.1 s)",
            "allow more minutes by measure.max_minutes",
        ),
        (
            2, "max_usd",
            "measure.max_usd was used up after 2 of the 3 samples that a figure needs (46.1 s)",
            "allow more dollars by measure.max_usd",
        ),
    ],
)  # fmt: skip
def test_a_limit_that_left_no_time_for_a_figure_is_no_finish(
    samples: int, stopped: str, reason: str, hint: str
) -> None:
    end = of_finish(samples, 46.1, stopped)  # type: ignore[arg-type]
    assert (end.status, end.reason, end.hint) == ("out_of_budget", reason, hint)


def test_what_was_not_finite_is_judged_by_its_check_and_not_called_late() -> None:
    assert of_finish(0, 5.0, "not_finite").status == "finished"


def failed(message: str, error: str = "RuntimeError", raised_in: str = "trnbench") -> Failed:
    """Return how a worker reports an exception that nothing in it explains."""
    trace = f'Traceback:\n  File "gloo/x.py", line 1\n    y()\n{error}: {message}'
    return Failed(
        at_seconds=1.0, reason="bug", message=message, hint=None, detail=trace, error=error,
        raised_in=raised_in,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("backend", "error", "raised_in", "status"),
    [
        # What the software of a device throws, known or not, is no bug of ours.
        ("neuron", "RuntimeError", "trnbench", "device_failure"),
        ("cuda", "torch.distributed.DistBackendError", "torch", "device_failure"),
        ("neuron", "AssertionError", "torch_neuronx", "device_failure"),
        ("xla", "OSError", "torch_xla", "device_failure"),
        # A mistake in Python code is: ours, or in how we call torch.
        ("neuron", "TypeError", "trnbench", "bug"),
        ("cuda", "ValueError", "torch", "bug"),
        # On the processor a RuntimeError is torch's word for wrong shapes.
        ("cpu", "RuntimeError", "trnbench", "bug"),
        ("cpu", "torch._inductor.exc.SomethingNew", "torch", "device_failure"),
    ],
)
def test_a_text_that_is_not_known_is_told_with_its_words(
    backend: str, error: str, raised_in: str, status: str
) -> None:
    end = of_failure(backend, failed("of next year", error, raised_in), "")
    assert (end.status, "of next year" in end.reason) == (status, True)
    assert "  File" in (end.detail or "")


def test_a_mistake_is_not_explained_by_the_log_and_a_failure_is() -> None:
    log = "ERROR TDRV:log_dev_mem Failed to allocate 4.000GB"
    assert of_failure("neuron", failed("unknown"), log).status == "out_of_memory"
    assert of_failure("neuron", failed("unknown", "TypeError"), log).status == "bug"


def test_what_the_worker_explained_is_not_renamed_by_a_text_that_names_no_cause() -> None:
    explained = replace(failed("torch._dynamo.exc.Stance: compiled again"), reason="recompiled")
    assert of_failure("cuda", explained, "").status == "recompiled"
    full = replace(failed("torch.OutOfMemoryError: CUDA out of memory"), reason="out_of_memory")
    end = of_failure("cuda", full, "")
    assert end.status == "out_of_memory"
    assert "micro_batch_size" in (end.hint or "")


def test_a_device_that_is_not_here_is_explained_by_torchs_warning() -> None:
    gone = replace(failed("torch has no cuda device here"), reason="unavailable", hint="see doctor")
    warning = "UserWarning: The NVIDIA driver on your system is too old (found version 11040)."
    end = of_failure("cuda", gone, warning)
    assert (end.status, "too old" in end.reason) == ("unavailable", True)
    assert "driver" in (end.hint or "")
    assert of_failure("cuda", gone, "").hint == "see doctor"


@pytest.mark.parametrize("exit_code", [-9, 137])
def test_a_worker_that_was_killed_is_told_as_out_of_memory(exit_code: int) -> None:
    end = of_death("cuda", exit_code, "", "measure")
    assert (end.status, "out-of-memory killer" in (end.hint or "")) == ("died", True)


def test_what_a_worker_has_explained_already_is_not_said_twice() -> None:
    meaning = "the machine has not enough memory for this model and batch"
    words = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 2080374784 bytes"
    end = of_failure("cpu", replace(failed(f"{meaning}: {words}"), reason="out_of_memory"), "")
    assert end.status == "out_of_memory"
    assert end.reason == f"{meaning}: {words}"
