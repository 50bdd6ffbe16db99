"""What is right and wrong with a machine: a function for each thing, in the order of reports.

Sources: AWS Neuron documentation 2.32 and 2.33, tools/neuron-explorer/environment-variables,
about-neuron/arch/neuron-features/neuron-caching, setup-trn1-multi-node-execution.
"""

from collections.abc import Callable

from trnbench.catalog.instances import instances
from trnbench.prices.base import NoPrice
from trnbench.run.machine.chip_findings import (
    accelerator,
    describe_chips,
    holders,
    logical_cores,
    neuron_driver,
    neuron_hardware,
    neuron_tools,
    nvidia_driver,
)
from trnbench.run.machine.finding import Finding, join_words
from trnbench.run.machine.inspection import Inspection
from trnbench.run.machine.package_findings import (
    interpreter,
    neuron_generations,
    neuron_missing,
    neuron_pair,
    neuron_python,
    neuron_stub,
    torch,
    torch_build,
)
from trnbench.schema.units import say_usd

PROFILING_VARIABLES = (
    "NEURON_FRAMEWORK_DEBUG", "NEURON_RT_INSPECT_ENABLE", "NKI_DEBUG_INFO", "XLA_HLO_DEBUG",
    "XLA_IR_DEBUG",
)  # fmt: skip
"""They change what is compiled, or write while it runs: what is timed is something else."""

CACHE_VARIABLES = {
    "native": ("TORCH_NEURONX_NEFF_CACHE_DIR", "/tmp/neff_cache"),
    "xla": ("NEURON_COMPILE_CACHE_URL", "/var/tmp/neuron-compile-cache"),
}
"""Of each generation what says where compiled programs go, and where they go without it."""


def huge_pages(seen: Inspection) -> Finding | None:
    """Whether EFA finds the huge pages that it takes its buffers from.

    Source: libfabric's maintainers, github.com/ofiwg/libfabric/issues/9739, read 2026-11-23.
    """
    if not seen.network.efa_devices or seen.host.huge_pages is None:
        return None
    if seen.host.huge_pages > 0:
        return Finding("huge_pages", "ok", f"{seen.host.huge_pages} reserved")
    return Finding(
        "huge_pages",
        "warning",
        "no huge page is reserved, and EFA takes its buffers from huge pages: between machines "
        "it may be slower and may fail to register memory",
        "run the EFA installer again, which reserves them; `sysctl vm.nr_hugepages` shows how many",
    )


def cache(seen: Inspection) -> Finding | None:
    """Whether compiled programs outlive the instance."""
    generation = seen.inventory.neuron if seen.inventory else None
    if generation not in CACHE_VARIABLES:
        return None
    variable, default = CACHE_VARIABLES[generation]
    if variable in seen.machine.variables:
        return Finding("cache", "ok", f"{variable} is set")
    return Finding(
        "cache",
        "warning",
        f"compiled programs go to {default}, which may be gone after a restart: the next run "
        "compiles again",
        f"set {variable} to a folder that stays",
    )


def profiling(seen: Inspection) -> Finding | None:
    """Whether variables are set under which nothing should be timed."""
    variables = seen.machine.variables
    found = [
        name for name in PROFILING_VARIABLES if variables.get(name, "0") not in ("0", "", "false")
    ]
    if not found:
        return None
    return Finding(
        "profiling",
        "warning",
        f"{join_words(found)} {'is' if len(found) == 1 else 'are'} set: what is timed is "
        "slower than, or compiled differently from, what you would train with",
        f"`unset {' '.join(found)}`",
    )


def efa(seen: Inspection) -> Finding | None:
    """Whether the network between machines is there, where there may be several."""
    network = seen.network
    if network.efa_devices:
        if network.has_provider is False:
            return Finding(
                "efa",
                "warning",
                "EFA devices are here and libfabric offers no provider `efa`: training on several "
                "machines would fall back to TCP or fail",
                "install the EFA software (`efa_installer.sh`), and set FI_PROVIDER=efa",
            )
        return Finding("efa", "ok", f"{len(network.efa_devices)} EFA devices")
    instance = instances().get(seen.machine.instance or "")
    if not seen.host.is_ec2 or instance is None or instance.chips < 2:
        return None
    return Finding(
        "efa",
        "warning",
        f"no EFA device on this {instance.name}: it matters only for training on several machines",
        "EFA interfaces are attached when an instance is launched: launch it with them",
    )


def governor(seen: Inspection) -> Finding | None:
    """Whether the processor is held back to save power."""
    if seen.host.governor != "powersave":
        return None
    return Finding(
        "governor",
        "warning",
        "the processor's governor is `powersave`: its clock, and so the figures, may wander",
        "`sudo cpupower frequency-set -g performance`",
    )


def devices(seen: Inspection) -> Finding | None:
    """Whether torch can use what is here."""
    if seen.devices is None:
        has_torch = seen.inventory is not None and "torch" in seen.inventory.versions
        if seen.devices_reason is None or not has_torch:
            return None  # not asked, or told already
        return Finding(
            "devices",
            "problem",
            f"torch cannot be used: {seen.devices_reason}",
            "import torch in that interpreter to see its own words, or name another with "
            "`--python PATH`",
        )
    backends = [device.backend for device in seen.devices.found]
    if set(backends) == {"cpu"} and (seen.neuron.is_here or seen.nvidia.is_here):
        return Finding(
            "devices",
            "problem",
            f"torch can use the CPU alone, and there is more here: {describe_chips(seen)}",
            "mend the problems above first; `trnbench run --device cpu` trains on the CPU "
            "all the same",
        )
    return Finding("devices", "ok", f"torch can use {join_words(backends)}")


def ec2(seen: Inspection) -> Finding | None:
    """Whether EC2's metadata service answered, where there should be one."""
    if not seen.host.is_ec2:
        return None
    if seen.ec2.reason is None:
        return Finding("ec2", "ok", f"{seen.ec2.instance} in {seen.ec2.zone}")
    return Finding(
        "ec2",
        "warning",
        seen.ec2.reason,
        "allow the metadata service (IMDSv2; from a container its hop limit must be 2), or name "
        "region and rate: `--set price.region=…`, `--usd-per-hour`",
    )


def price(seen: Inspection) -> Finding | None:
    """Whether the price of this machine is known."""
    found = seen.price
    if isinstance(found, NoPrice):
        if seen.machine.instance is None:
            return Finding(
                "price",
                "absent",
                "nobody knows what this machine costs: results will have no cost",
                "`--usd-per-hour` sets your rate, now or when a report is made",
            )
        return Finding("price", "warning", found.reason, found.hint)
    return Finding("price", "ok", f"{say_usd(found.usd_per_hour)}/h {found.option}")


FINDINGS: tuple[Callable[[Inspection], Finding | None], ...] = (
    accelerator,
    neuron_driver,
    neuron_tools,
    nvidia_driver,
    holders,
    interpreter,
    torch,
    neuron_stub,
    neuron_missing,
    neuron_generations,
    neuron_pair,
    neuron_python,
    neuron_hardware,
    torch_build,
    devices,
    logical_cores,
    huge_pages,
    cache,
    profiling,
    efa,
    governor,
    ec2,
    price,
)
"""In the order in which they are told: what must be mended first stands first."""


def diagnose(seen: Inspection) -> list[Finding]:
    """Return all that there is to say of a machine."""
    return [finding for function in FINDINGS if (finding := function(seen)) is not None]
