"""What a vendor's software says of a fault is told in our words, with what mends it."""

import json
from pathlib import Path

import pytest

from tests.command import only_case, run_to_end
from tests.fake_python import Behaviour, fake_python
from tests.stand_in import stand_in_environment

CONFIG = """
name: faults
model: tiny-llama
workload: {sequence_length: 64, global_batch_size: 2}
device: neuron:0
measure: {gate: false}
"""
TIMEOUT = (
    "(FATAL-RT-UNDEFINED-STATE) missing collectives status on Neuron Device 0 NC 0, model 0 - "
    "suspected hang in collectives operation 0 out of 100"
)


@pytest.mark.parametrize(
    ("behaviour", "words", "status", "fix"),
    [
        (
            "fails",
            "NeuronCore(s) not available - Requested:nc1-nc1 Available:0",
            "device_busy",
            "neuron-ls",
        ),
        (
            "fails",
            "Unable to determine Neuron Driver version. Please check aws-neuron-dkms package is "
            "installed.",
            "device_not_ready",
            "aws-neuronx-dkms",
        ),
        ("fails", "neuronx-cc failed with -9", "compile_failure", "memory"),
        ("fails", "[NCC_EVRF001] Unsupported operator: sort", "unsupported", "NCC_EVRF001"),
        ("fails", TIMEOUT, "collective_timeout", "NEURON_RT_EXEC_TIMEOUT"),
        ("aborts", TIMEOUT, "collective_timeout", "NEURON_RT_EXEC_TIMEOUT"),
    ],
)
def test_a_vendor_s_error_is_told_in_our_words_with_its_fix(
    behaviour: Behaviour, words: str, status: str, fix: str, tmp_path: Path
) -> None:
    config = tmp_path / "faults.yaml"
    config.write_text(CONFIG)
    python = fake_python(tmp_path, behaviour, at_step=0, backend="neuron", words=words)
    command = ("run", config, "-o", tmp_path / "run", "--python", python)
    done = run_to_end(command, environment=stand_in_environment())
    assert done.code == 4, done.err
    result = json.loads((only_case(tmp_path / "run") / "result.json").read_text())
    assert result["outcome"]["status"] == status
    assert fix in done.err
    assert "Traceback" not in done.err
