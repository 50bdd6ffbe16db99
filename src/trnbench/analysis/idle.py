"""What of a billed machine a job leaves idle, and what that costs.

Source: docs/metrics.md, "Idle devices".
"""

from trnbench.schema.plan import PlannedDevice


def idle_note(device: PlannedDevice) -> str | None:
    """Say which part of what is billed is idle, and what that costs; None where nothing is."""
    if device.devices_idle == 0:
        return None
    whose = "the whole instance" if device.instance else "all that is billed"
    if device.instances_billed > 1:
        whose = f"all {device.instances_billed} instances"
    times = 1 / device.used_share
    return (
        f"{_idle_part(device)} idle: $/token is of {whose}, {times:.1f} x what the used part costs"
    )


def _idle_part(device: PlannedDevice) -> str:
    """Say it in chips where whole ones are idle, else in devices."""
    chips, per_chip = device.chips_billed, device.devices_per_chip
    if device.devices_idle % per_chip == 0:
        idle = device.devices_idle // per_chip
        return f"{idle} of {chips} {device.accelerator} chips {'is' if idle == 1 else 'are'}"
    verb = "is" if device.devices_idle == 1 else "are"
    on = f"one {device.accelerator} chip" if chips == 1 else f"{chips} {device.accelerator} chips"
    return f"{device.devices_idle} of {device.devices_billed} devices of {on} {verb}"
