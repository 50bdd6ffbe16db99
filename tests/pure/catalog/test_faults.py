"""Vendors' texts, as their documents and public reports have them, lead to our words."""

import typing

from tests.each import check_each
from trnbench.catalog.backends import BACKENDS
from trnbench.catalog.facts import diagnose, faults
from trnbench.protocol.records import FailureReason

TEXTS = [
    ("NeuronCore(s) not available - Requested:nc1-nc1 Available:0", "device_busy"),
    (
        "Logical Neuron Core(s) not available - Requested:lnc0-lnc0 Available:0 Logical Core "
        "size:2 (cores busy, ret=-16)",
        "device_busy",
    ),
    ("nrt_init failed. Status = 1", "device_not_ready"),
    (
        "Unable to determine Neuron Driver version. Please check aws-neuron-dkms package is "
        "installed.",
        "device_not_ready",
    ),
    (
        "This runtime requires Neuron Driver version 2.0 or greater. Please upgrade "
        "aws-neuron-dkms package.",
        "device_not_ready",
    ),
    ("NEFF version mismatch supported: 1.1 received: 2.0", "device_not_ready"),
    ('RuntimeError: nrt_tensor_allocate status=4 message="Allocation Failure"', "out_of_memory"),
    (
        "TDRV:log_dev_mem Failed to allocate 4.000GB (alignment: none, usage: tensors) on ND 0:NC",
        "out_of_memory",
    ),
    (
        "[NCC_EOOM002] Maximum peak HBM usage of 18.12GB exceeds HBM limit of 16.00GB for Trn1",
        "out_of_memory",
    ),
    ("[NCC_EVRF007] number of instructions generated exceeds the limit", "compile_failure"),
    ("neuronx-cc failed with -9", "compile_failure"),
    ("[F134] neuronx-cc terminated abnormally", "compile_failure"),
    ("[INTERNAL_ERROR] [NCC_INLA001] something", "compile_failure"),
    ("[NCC_EVRF001] unsupported operator", "unsupported"),
    ("[NCC_EVRF051] data type F8E4M3FN is not supported on TRN1/TRN2", "unsupported"),
    (
        "(FATAL-RT-UNDEFINED-STATE) missing collectives status on Neuron Device 0 NC 0, model 0 - "
        "suspected hang in collectives operation 0 out of 100",
        "collective_timeout",
    ),
    (
        "(FATAL-RT-UNDEFINED-STATE) execution timeout (30000 ms) on Neuron Device 0 NC 0, model "
        "xxx.neff, waiting for execution completion notification",
        "collective_timeout",
    ),
    ("RX, connection closed by remote peer", "collective_timeout"),
    ("NEURON_HW_ERR=x action=TERMINATE_INSTANCE", "device_failure"),
]


def test_a_documented_text_is_known() -> None:
    def check(backend: str, text: str, reason: str) -> None:
        found = diagnose(backend, ["", f"some log\n{text}\nmore log"])
        assert found is not None
        assert (found.fault.reason, found.line) == (reason, text)

    check_each([(backend, *row) for backend in ("neuron", "xla") for row in TEXTS], check)


def test_the_vendor_s_code_is_kept() -> None:
    found = diagnose("neuron", ["[INTERNAL_ERROR] [NCC_INLA001] x"])
    assert found is not None
    assert found.code == "NCC_INLA001"


def test_a_text_of_another_device_or_of_nobody_is_left_alone() -> None:
    assert diagnose("cpu", [TEXTS[0][0]]) is None
    assert diagnose("neuron", ["mat1 and mat2 shapes cannot be multiplied"]) is None


def test_every_row_can_be_used_and_has_its_source() -> None:
    for fault in faults():
        assert fault.backends <= set(BACKENDS)
        assert fault.reason in typing.get_args(FailureReason)
        assert all((fault.meaning, fault.fix, fault.source)), fault.pattern
