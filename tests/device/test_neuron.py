"""Trainium by native TorchNeuron: `pytest -m neuron` on the day that someone has the chip."""

import re
from pathlib import Path
from typing import ClassVar

import pytest

from tests.device.suite import DeviceSuite
from trnbench.protocol.records import FoundDevice


@pytest.mark.neuron
class TestNeuron(DeviceSuite):
    backend: ClassVar[str] = "neuron"

    def calls_itself(self, name: str) -> bool:
        return re.match(r"(trn[2-9]|neuron)", name) is not None

    def test_events_are_never_used(self, device: FoundDevice, tmp_path: Path) -> None:
        """Proves that no time here is one that the device's own events told."""
        assert self.prove("clocks", tmp_path) == {"events_over_clock": None}

    def test_fp8_is_refused_where_the_chip_has_none_that_torch_knows(
        self, device: FoundDevice, tmp_path: Path
    ) -> None:
        """Proves that a type that the chip lacks is refused before the device is claimed."""
        if not device.device_name.startswith(("trn1", "trn2")):
            pytest.skip(f"{device.device_name} is another chip")
        done = self.run(tmp_path, "--set", "workload.precision=fp8")
        assert done.code == 2
        assert "fp8" in done.err
