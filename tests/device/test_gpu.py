"""NVIDIA's and AMD's GPUs: `pytest -m gpu` on a machine that has one."""

from typing import ClassVar

import pytest

from tests.device.suite import DeviceSuite


@pytest.mark.gpu
class TestGpu(DeviceSuite):
    backend: ClassVar[str] = "cuda"

    def calls_itself(self, name: str) -> bool:
        return any(maker in name for maker in ("NVIDIA", "AMD", "Tesla", "GeForce", "Quadro"))
