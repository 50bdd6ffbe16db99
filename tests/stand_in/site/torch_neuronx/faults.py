"""What the environment tells to go wrong, in the vendor's own words.

| Kind | When, if no op is named | What |
|---|---|---|
| busy, init, driver | the device is touched first | the runtime does not start |
| memory | the first op | the runtime refuses an allocation |
| hbm, compiler_killed, compiler_error, unsupported | the first compile | the compiler refuses |
| timeout | the first op | the runtime gives up on a collective |
| aborts | the first op | the runtime ends the process |
| hangs | the first op | the call never returns |
| compile_hangs | the first compile | the compiler never returns |
| crashes_at_end | the process group is destroyed | the process dies of SIGSEGV |

An op is what the device computes or copies; allocations and views are none. Without `@N` the first
compile is that of the first graph or of the first op that computes.

Sources of the texts: the AWS Neuron documentation 2.32, neuron-runtime/nrt-troubleshoot and
compiler/error-codes, and public bug reports.
"""

import os
import signal
import sys
import time
from typing import NoReturn

from torch_neuronx.memory import ALLOCATION_FAILURE

TIMEOUT = (
    "(FATAL-RT-UNDEFINED-STATE) missing collectives status on Neuron Device 0 NC 0, model 0 - "
    "suspected hang in collectives operation 0 out of 100"
)

TEXTS = {
    "busy": "NeuronCore(s) not available - Requested:nc1-nc1 Available:0",
    "init": "nrt_init failed. Status = 1",
    "driver": (
        "Unable to determine Neuron Driver version. Please check aws-neuron-dkms package is "
        "installed."
    ),
    "memory": ALLOCATION_FAILURE,
    "hbm": (
        "[NCC_EOOM002] Maximum peak HBM usage of 18.12GB exceeds HBM limit of 16.00GB for Trn1\n"
        "Constants: 0.50GB, I/O tensors: 9.20GB, scratchpad: 8.30GB, rings: 0.12GB"
    ),
    "compiler_killed": "neuronx-cc failed with -9",
    "compiler_error": (
        "Failed compilation with ['neuronx-cc', 'compile', '--framework=XLA', 'graph.hlo', "
        "'--output', 'graph.neff', '--target=trn2', '-O1']\n"
        "2026-10-19T12:00:00Z Non-signal exit. Backend exited with code 1\n"
        "[INTERNAL_ERROR] [NCC_INLA001] Unhandled exception with message: (stand-in) in layout"
    ),
    "unsupported": "[NCC_EVRF001] Unsupported operator: (stand-in) is not supported",
    "timeout": TIMEOUT,
}

_AT_START = ("busy", "init", "driver")
_AT_COMPILE = ("hbm", "compiler_killed", "compiler_error", "unsupported", "compile_hangs")
_AT_END = ("crashes_at_end",)


class Faults:
    """Fails at the moment that was set."""

    def __init__(self, kind: str | None, at: int | None) -> None:
        self._kind = kind
        self._at = at
        self._ops = 0

    def at_start(self) -> None:
        """Fail if the runtime shall not start."""
        if self._at is None and self._kind in _AT_START:
            fail(self._kind)

    def at_compile(self) -> None:
        """Fail if the compiler shall."""
        if self._at is None and self._kind in _AT_COMPILE:
            fail(self._kind)

    def at_end(self) -> None:
        """Fail if the end of the process group shall."""
        if self._kind in _AT_END:
            os.kill(os.getpid(), signal.SIGSEGV)

    def at_op(self) -> None:
        """Count one op, and fail if it is the one."""
        self._ops += 1
        if self._kind is None:
            return
        if self._at is None and self._kind in (*_AT_START, *_AT_COMPILE, *_AT_END):
            return
        if self._ops == (self._at or 1):
            fail(self._kind)


def fail(kind: str) -> NoReturn:
    """Go wrong as told."""
    if kind in TEXTS:
        raise RuntimeError(TEXTS[kind])
    if kind == "aborts":
        sys.stdout.flush()
        os.write(2, f"{TIMEOUT}\n".encode())
        os.abort()
    while True:
        time.sleep(3600)
