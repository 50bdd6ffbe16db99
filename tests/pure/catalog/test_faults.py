"""Vendors' texts, as their documents and public reports have them, lead to our words."""

import re
import typing

import pytest

from tests.each import check_each
from trnbench.catalog.backends import BACKENDS
from trnbench.catalog.facts import Fault, diagnose, faults
from trnbench.protocol.records import FailureReason

REASONS = [
    # What the native package throws: a status of the runtime in its own words.
    ("neuron", "RuntimeError: NRT allocation failed for size 7 (OOM)", "out_of_memory"),
    ("neuron", "NRT EXECUTION FAILED: lazy::Bind, Failed to allocate resource", "out_of_memory"),
    ("neuron", "Failed to initialize Neuron Runtime: status code 1", "device_not_ready"),
    ("neuron", "Neuron core busy/locked by another process", "device_busy"),
    ("neuron", "NRT EXECUTION FAILED: , Operation timed out", "collective_timeout"),
    ("neuron", "Stuck in collectives op (a status is missing)", "collective_timeout"),
    ("neuron", "Failed to execute the device barrier 2", "device_not_ready"),
    ("neuron", "COMPILATION FAILED: a graph of 3 nodes", "compile_failure"),
    ("neuron", "[Errno 2] No such file or directory: 'neuronx-cc'", "compile_failure"),
    ("neuron", "nrt_load status=9, a status that no row has", "device_failure"),
    # What a table of codes gets wrong by its order.
    ("neuron", "[F134] neuronx-cc terminated abnormally", "compile_failure"),
    ("neuron", "(FATAL-RT-UNDEFINED-STATE) inference timeout (600000 ms)", "collective_timeout"),
    ("xla", "NCC_EVRF065 a kernel of another nki", "compile_failure"),
    # CUDA, ROCm, Triton, NCCL, gloo.
    ("cuda", "Error 802: system not yet initialized", "device_not_ready"),
    ("cuda", "CUDA error: CUDA-capable device(s) is/are busy or unavailable", "device_busy"),
    ("cuda", "CUDA error: uncorrectable ECC error encountered", "device_failure"),
    ("cuda", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED", "out_of_memory"),
    ("cuda", "out of resource: shared memory, Required: 9, Hardware limit: 8", "compile_failure"),
    ("cuda", "HIP error: invalid device function", "device_not_ready"),
    ("cuda", "CUDA error: an error of next year", "device_failure"),
    ("cuda", "ncclSystemError: unhandled system error", "device_failure"),
    ("cpu", "[pair.cc:1] Connection closed by peer [127.0.0.1]:1", "collective_timeout"),
]


def test_a_known_text_in_a_log_has_its_reason_and_its_line() -> None:
    def check(backend: str, text: str, reason: str) -> None:
        found = diagnose(backend, ["", f"some log\n{text}\nmore log"])
        assert found is not None
        assert (found.fault.reason, found.line) == (reason, text)

    check_each(REASONS, check)


def alternatives(pattern: str) -> list[str]:
    """Split a pattern at each `|` outside of groups, classes and escapes."""
    parts, depth, is_in_class = [""], 0, False
    for token in re.findall(r"\\.|.", pattern):
        if is_in_class:
            is_in_class = token != "]"
        elif token == "[":
            is_in_class = True
        elif token in "()":
            depth += 1 if token == "(" else -1
        if token == "|" and depth == 0 and not is_in_class:
            parts.append("")
        else:
            parts[-1] += token
    return parts


def test_each_row_knows_the_texts_that_it_was_written_for_and_each_alternative_has_one() -> None:
    def check(fault: Fault) -> None:
        for alternative in alternatives(fault.pattern.pattern):
            assert any(re.search(alternative, text) for text in fault.examples), alternative
        for backend in fault.backends:
            for text in fault.examples:
                found = diagnose(backend, [text])
                assert found is not None, text
                assert found.fault is fault, (backend, text, found.fault.meaning)

    check_each([(fault,) for fault in faults()], check)


EFA = "CCOM WARN OFI plugin initNet() failed is EFA enabled?"
FULL = "ERROR TDRV:log_dev_mem Failed to allocate 4.000GB"
OLD = "2026-Nov-30 1:1 WARN NRT:init please upgrade aws-neuronx-dkms"


@pytest.mark.parametrize(
    ("texts", "log", "reason"),
    [
        # The exception, whatever a warning says; also where the log is one of the texts.
        (["NRT allocation failed for size 1 (OOM)"], EFA, "out_of_memory"),
        (["NRT allocation failed for size 1 (OOM)", "", EFA], "", "out_of_memory"),
        (["NRT allocation failed for size 1 (OOM)"], OLD, "out_of_memory"),
        # An exception that is not known is not explained by a warning, but by an error.
        (["RuntimeError: of next year"], f"{EFA}\n{OLD}", None),
        (["RuntimeError: of next year"], f"{OLD}\n{FULL}", "out_of_memory"),
        # Of two texts that name no cause, the one that says more, in whichever it is.
        (["NRT Execution error occurred", "Stuck in collectives op"], "", "collective_timeout"),
        # What says only that something failed is explained by an error, and not by a warning.
        (["nrt_init failed. Status = 1"], "not available - Requested", "device_busy"),
        (["Failed to execute the device barrier 1"], OLD, "device_not_ready"),
        # Runs that pass print this: it explains nothing.
        ([], EFA, None),
        # Where there is nothing else, a warning is better than nothing.
        ([], OLD, "device_not_ready"),
    ],
)
def test_the_exception_goes_before_errors_in_the_log_and_those_before_warnings(
    texts: list[str], log: str, reason: str | None
) -> None:
    found = diagnose("neuron", texts, log)
    assert (found and found.fault.reason) == reason


def test_nccl_logs_its_errors_as_warnings() -> None:
    log = "host:1:2 [0] NCCL WARN Cuda failure 2 'out of memory'"
    found = diagnose("cuda", ["NCCL error in: x.cpp:1, unhandled cuda error"], log)
    assert found is not None
    assert (found.fault.reason, found.line) == ("out_of_memory", log)


def test_the_vendor_s_code_is_kept() -> None:
    found = diagnose("neuron", ["[INTERNAL_ERROR] [NCC_INLA001] x"])
    assert found is not None
    assert found.code == "NCC_INLA001"


def test_a_text_of_another_device_or_of_nobody_is_left_alone() -> None:
    assert diagnose("cpu", [REASONS[0][1]]) is None
    assert diagnose("neuron", ["mat1 and mat2 shapes cannot be multiplied"]) is None


def test_every_row_can_be_used_and_has_its_source() -> None:
    for fault in faults():
        assert fault.backends <= set(BACKENDS)
        assert fault.reason in typing.get_args(FailureReason)
        assert all((fault.meaning, fault.fix, fault.source)), fault.pattern
