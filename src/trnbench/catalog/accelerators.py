"""Datasheet figures of accelerator chips, each with where it was read."""

import functools
from dataclasses import dataclass

from trnbench.catalog import number, read_table
from trnbench.schema.units import GIB
from trnbench.wire import Precision


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One chip as its maker describes it. Rates are dense; sparse figures are never used."""

    name: str
    vendor: str
    generation: str
    devices_per_chip: int
    """Devices that torch sees for one chip: logical NeuronCores at the default LNC, GPUs' dies."""
    cores_per_chip: int | None
    """Physical NeuronCores, where a device may be one of them or two."""
    bf16_flops_per_second: float | None
    fp8_flops_per_second: float | None
    """Of products in the 8-bit floats that torch trains with, or the vendor's own."""
    fp32_flops_per_second: float | None
    memory_bytes: float | None
    memory_bytes_per_second: float | None
    tdp_watts: float | None
    """Thermal rating of one chip, the most that it is made to draw for long; None: unpublished."""
    device_names: tuple[str, ...]
    """The names that drivers and runtimes give to this chip, as far as they are known."""
    source: str

    def peak_flops_per_second(self, precision: Precision) -> float | None:
        """Return the chip's peak for the matrix products of this precision, or None.

        Of fp8 that of what is left in bf16: see `fp8_flops_per_second` for the blocks' products.
        """
        return self.fp32_flops_per_second if precision == "fp32" else self.bf16_flops_per_second


@functools.cache
def accelerators() -> dict[str, Accelerator]:
    """Return every known chip by its name in this catalog."""
    found = {}
    for row in read_table("accelerators.csv"):
        memory_gib, bandwidth = number(row["memory_gib"]), number(row["memory_tb_per_second"])
        found[row["accelerator"]] = Accelerator(
            name=row["accelerator"],
            vendor=row["vendor"],
            generation=row["generation"],
            devices_per_chip=int(row["devices_per_chip"]),
            cores_per_chip=int(row["cores_per_chip"]) if row["cores_per_chip"] else None,
            bf16_flops_per_second=_tera(row["bf16_dense_tflops"]),
            fp8_flops_per_second=_tera(row["fp8_dense_tflops"]),
            fp32_flops_per_second=_tera(row["fp32_tflops"]),
            memory_bytes=None if memory_gib is None else memory_gib * GIB,
            memory_bytes_per_second=None if bandwidth is None else bandwidth * 1e12,
            tdp_watts=number(row["tdp_watts"]),
            device_names=tuple(filter(None, row["device_name"].split("|"))),
            source=row["source"],
        )
    return found


def accelerator_of_device(device_name: str) -> Accelerator | None:
    """Find the chip that the driver calls by exactly this name; a near name is another chip."""
    for accelerator in accelerators().values():
        if device_name in accelerator.device_names:
            return accelerator
    return None


def _tera(cell: str) -> float | None:
    value = number(cell)
    return None if value is None else value * 1e12
