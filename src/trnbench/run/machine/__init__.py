"""This machine: one file for each thing that is looked at, and what is found wrong with it."""

from trnbench.run.machine.provenance import Devices, Machine, describe_machine, untelling

__all__ = ["Devices", "Machine", "describe_machine", "untelling"]
