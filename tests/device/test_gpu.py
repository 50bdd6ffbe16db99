"""NVIDIA's and AMD's GPUs: `pytest -m gpu` on a machine that has one."""

import json
from pathlib import Path
from typing import ClassVar

import pytest

from tests.command import only_case, records_of
from tests.device.suite import DeviceSuite
from trnbench.protocol.records import FoundDevice

NO_FP8 = "no fp8"


@pytest.mark.gpu
class TestGpu(DeviceSuite):
    backend: ClassVar[str] = "cuda"

    def calls_itself(self, name: str) -> bool:
        return any(maker in name for maker in ("NVIDIA", "AMD", "Tesla", "GeForce", "Quadro"))

    def test_nccl_tells_how_it_connects_two_gpus(self, device: FoundDevice, tmp_path: Path) -> None:
        """Proves that NCCL's own log is read, by which a slow way between GPUs is noticed."""
        if device.device_count < 2:
            pytest.skip("there is one device only")
        sizes = ("--set", "parallel.data_parallel_replicate_size=2")
        done = self.run(tmp_path, *sizes, device=self.backend)
        assert done.code == 0, done.err
        case = only_case(tmp_path / "out")
        told = [r["transports"] for r in records_of(case) if r["kind"] == "communication"]
        assert len(told) == 2
        assert all(told), told

    def test_fp8_trains_what_fp32_does_where_the_gpu_has_it(
        self, device: FoundDevice, tmp_path: Path
    ) -> None:
        """Proves torch's fp8 kernels right on this GPU, and that both ceilings are measured."""
        done = self.run(tmp_path, precision="fp8")
        if NO_FP8 in done.err:
            pytest.skip(done.err)
        assert done.code == 0, done.err
        result = json.loads((only_case(tmp_path / "out") / "result.json").read_text())
        checks = {check["name"]: check["verdict"] for check in result["checks"]}
        assert checks["parity"] == "sound", result["checks"]
        assert result["utilization"]["fp8"]["flops_per_token"] > 0
        assert result["metrics"]["mfu_bf16_equivalent"]["value"] > 0

    def test_fp8_products_are_timed_where_the_gpu_has_them(
        self, device: FoundDevice, tmp_path: Path
    ) -> None:
        """Proves that each of a model's products, in each layout, has an fp8 kernel."""
        done = self.run(tmp_path, "--dry-run", precision="fp8")
        if NO_FP8 in done.err:
            pytest.skip(done.err)
        made = self.measure_peak(tmp_path, "--precision", "fp8")
        products = [each for each in made["readings"] if each["task"]["kind"] == "product"]
        assert {each["task"]["precision"] for each in products} == {"fp8"}
        assert all(each["seconds"] for each in products), products
