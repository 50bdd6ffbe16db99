"""Datasheet figures of accelerator chips, each with where it was read."""

import functools
from dataclasses import dataclass

from trnbench.catalog import number, read_table
from trnbench.protocol.orders import Precision
from trnbench.units import GIB

TERA = 1e12


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One chip as its maker describes it. Rates are dense; sparse figures are never used."""

    name: str
    vendor: str
    devices_per_chip: int
    """Devices that torch sees for one chip: logical NeuronCores at the default LNC, GPUs' dies."""
    cores_per_chip: int | None
    """Physical NeuronCores, where a device may be one of them or two."""
    bf16_flops_per_second: float | None
    fp8_flops_per_second: float | None
    """Of matmuls in the 8-bit floats that torch trains with, or in the vendor's own."""
    fp32_flops_per_second: float | None
    memory_bytes: float | None
    memory_bytes_per_second: float | None
    tdp_watts: float | None
    """Thermal rating of one chip; None where none is published."""
    device_names: tuple[str, ...]
    """What drivers and runtimes call this chip, as far as it is known."""
    source: str

    def peak_flops_per_second(self, precision: Precision) -> float | None:
        """Return the peak of matmuls in this precision; for fp8, of those that stay in bf16."""
        return self.fp32_flops_per_second if precision == "fp32" else self.bf16_flops_per_second


@functools.cache
def accelerators() -> dict[str, Accelerator]:
    """Return every known chip by its name in this catalog."""
    found = {}
    for row in read_table("accelerators.csv"):
        found[row["accelerator"]] = Accelerator(
            name=row["accelerator"],
            vendor=row["vendor"],
            devices_per_chip=int(row["devices_per_chip"]),
            cores_per_chip=int(row["cores_per_chip"]) if row["cores_per_chip"] else None,
            bf16_flops_per_second=_scaled(row["bf16_dense_tflops"], TERA),
            fp8_flops_per_second=_scaled(row["fp8_dense_tflops"], TERA),
            fp32_flops_per_second=_scaled(row["fp32_tflops"], TERA),
            memory_bytes=_scaled(row["memory_gib"], GIB),
            memory_bytes_per_second=_scaled(row["memory_tb_per_second"], TERA),
            tdp_watts=number(row["tdp_watts"]),
            device_names=tuple(filter(None, row["device_name"].split("|"))),
            source=row["source"],
        )
    return found


def accelerator_of_device(device_name: str) -> Accelerator | None:
    """Find the chip that the driver calls by exactly this name; a near name is another chip."""
    known = accelerators().values()
    return next((chip for chip in known if device_name in chip.device_names), None)


def _scaled(cell: str, unit: float) -> float | None:
    value = number(cell)
    return None if value is None else value * unit
