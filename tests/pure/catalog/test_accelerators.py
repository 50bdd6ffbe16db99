"""The chips: cited figures, one by one, and rules that every row keeps."""

import pytest

from tests.each import check_each
from trnbench.catalog import number, read_table
from trnbench.catalog.accelerators import accelerator_of_device, accelerators

ROWS = read_table("accelerators.csv")

CITED = {
    # name: (dense bf16 TFLOP/s, fp32 TFLOP/s, memory GiB, memory TB/s, devices per chip)
    # AWS Neuron documentation, hardware pages of Trainium 1, 2 and 3, read 2026-08.
    "trainium1": (190, 47.5, 32, 0.82, 2),
    "trainium2": (667, 181, 96, 2.9, 4),
    "trainium3": (671, 183, 144, 4.9, 4),
    # NVIDIA datasheets, without sparsity, by the ml-engineering accelerator tables, read 2026-08.
    "a100-80": (312, 19.5, 80, 2.0, 1),
    "h100-sxm": (989, 67, 80, 3.35, 1),
    "h200": (989, 67, 141, 4.8, 1),
    "b200": (2250, None, 180, 8.0, 1),
    "l4": (121, 30.3, 24, 0.3, 1),
    "mi300x": (1307, 163.4, 192, 5.3, 1),
    "mi250x": (383, 47.9, 128, 3.28, 2),
    "tpu-v5p": (459, None, 95, 2.765, 1),
    "a10g": (None, None, 24, 0.6, 1),
}

SPARSE_TFLOPS = {2563, 2517, 1979, 3958, 624, 242, 733}
"""bf16 figures of the same pages that hold only for sparse matrices."""


def test_a_chip_has_its_cited_figures() -> None:
    def check(name: str) -> None:
        bf16, fp32, memory, bandwidth, devices = CITED[name]
        chip = accelerators()[name]
        assert chip.bf16_flops_per_second == (None if bf16 is None else pytest.approx(bf16 * 1e12))
        assert chip.fp32_flops_per_second == (None if fp32 is None else pytest.approx(fp32 * 1e12))
        assert chip.memory_bytes == memory * 2**30
        assert chip.memory_bytes_per_second == pytest.approx(bandwidth * 1e12)
        assert chip.devices_per_chip == devices

    check_each(CITED, check)


def test_the_peak_is_that_of_the_precision() -> None:
    chip = accelerators()["trainium2"]
    assert chip.peak_flops_per_second("fp32") == pytest.approx(181e12)
    assert chip.peak_flops_per_second("bf16") == pytest.approx(667e12)
    assert chip.peak_flops_per_second("pure_bf16") == pytest.approx(667e12)


def test_an_unknown_peak_is_unknown_and_not_a_neighbours() -> None:
    assert accelerators()["a10g"].peak_flops_per_second("bf16") is None
    assert accelerators()["t4"].peak_flops_per_second("bf16") is None
    assert accelerators()["b200"].peak_flops_per_second("fp32") is None


def test_no_chip_stands_twice() -> None:
    assert len(accelerators()) == len(ROWS) > 20
    names = [chip.device_names for chip in accelerators().values() if chip.device_names]
    assert len(set(names)) == len(names)


def test_every_row_has_its_source_and_no_zero() -> None:
    for row in ROWS:
        assert len(row["source"]) > 20, row["accelerator"]
        figures = [number(cell) for column, cell in row.items() if column.endswith("tflops")]
        assert all(figure is None or figure > 0 for figure in figures), row["accelerator"]


def test_no_peak_is_a_sparse_one() -> None:
    for row in ROWS:
        assert number(row["bf16_dense_tflops"]) not in SPARSE_TFLOPS, row["accelerator"]


def test_figures_stand_in_an_order_that_physics_allows() -> None:
    for row in ROWS:
        fp32, bf16, fp8 = (
            number(row[column])
            for column in ("fp32_tflops", "bf16_dense_tflops", "fp8_dense_tflops")
        )
        assert fp32 is None or bf16 is None or fp32 < bf16, row["accelerator"]
        assert fp8 is None or bf16 is None or bf16 <= fp8, row["accelerator"]


def test_a_chip_is_found_by_what_its_driver_calls_it() -> None:
    found = accelerator_of_device("NVIDIA H100 80GB HBM3")
    assert found is accelerators()["h100-sxm"]


@pytest.mark.parametrize(
    "device_name",
    ["NVIDIA H100", "nvidia h100 80gb hbm3", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "", "cpu"],
)
def test_a_near_name_is_another_chip(device_name: str) -> None:
    assert accelerator_of_device(device_name) is None
