"""Trainers that ours is compared with: one file each, all driven burst by burst by `bursts.py`."""
