"""What of a billed machine a job leaves idle, and what that costs.

Source: docs/metrics.md, "Idle devices".
"""

from trnbench.schema.plan import PlannedDevice


def idle_note(device: PlannedDevice) -> str | None:
    """Say which part of what is billed is idle, and what that costs; None where nothing is.

    Said in chips where whole ones are idle, else in devices.
    """
    if device.devices_idle == 0:
        return None
    whose = "the whole instance" if device.instance else "all that is billed"
    if device.instances_billed > 1:
        whose = f"all {device.instances_billed} instances"
    chips, per_chip = device.chips_billed, device.devices_per_chip
    if device.devices_idle % per_chip == 0:
        what = f"{device.accelerator} chips"
        return _say_idle(device.devices_used // per_chip, chips, what, whose)
    on = f"one {device.accelerator} chip" if chips == 1 else f"{chips} {device.accelerator} chips"
    return _say_idle(device.devices_used, device.devices_billed, f"devices of {on}", whose)


def idle_chips_note(used: int, billed: int, chip: str) -> str | None:
    """Say the same of chips that a published run used, and those of the instances it is priced as.

    None where all are used.
    """
    return _say_idle(used, billed, f"{chip} chips", "whole instances") if used < billed else None


def _say_idle(used: int, billed: int, what: str, whose: str) -> str:
    verb = "is" if billed - used == 1 else "are"
    return (
        f"{billed - used} of {billed} {what} {verb} idle: $/token is of {whose}, "
        f"{billed / used:.1f} x what the used part costs"
    )
