"""LNC by variable, by the machine's file, by the compiler's flag."""

from pathlib import Path

import pytest

from tests.pure.machine.places import write
from trnbench.machine.logical_cores import LogicalCores, look_at_logical_cores

FILE = "opt/aws/neuron/logical_nc_config"


@pytest.mark.parametrize(
    ("environment", "file", "expected"),
    [
        ({}, None, LogicalCores()),
        ({"NEURON_LOGICAL_NC_CONFIG": "1"}, None, LogicalCores(by_variable=1)),
        ({"NEURON_RT_VIRTUAL_CORE_SIZE": "2"}, None, LogicalCores(by_variable=2)),
        (
            {"NEURON_LOGICAL_NC_CONFIG": "1", "NEURON_RT_VIRTUAL_CORE_SIZE": "2"}, None,
            LogicalCores(by_variable=1),
        ),
        ({}, "1\n", LogicalCores(by_file=1)),
        ({}, "NEURON_LOGICAL_NC_CONFIG=2", LogicalCores(by_file=2)),
        ({}, "seven", LogicalCores()),
        ({"NEURON_CC_FLAGS": "--model-type x --lnc=1"}, None, LogicalCores(by_compiler_flag=1)),
        ({"NEURON_CC_FLAGS": "-lnc 2 -O1"}, None, LogicalCores(by_compiler_flag=2)),
        ({"NEURON_CC_FLAGS": "--logical-nc-config 1"}, None, LogicalCores(by_compiler_flag=1)),
        ({"NEURON_CC_FLAGS": "--xlnc=1"}, None, LogicalCores()),
        ({"NEURON_LOGICAL_NC_CONFIG": "3"}, "2", LogicalCores(by_file=2)),
    ],
)  # fmt: skip
def test_what_decides_lnc_is_read(
    environment: dict[str, str], file: str | None, expected: LogicalCores, tmp_path: Path
) -> None:
    if file is not None:
        write(tmp_path, FILE, file)
    assert look_at_logical_cores(environment, tmp_path) == expected
