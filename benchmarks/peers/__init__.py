"""Trainers that ours is held against: one file each, all driven burst by burst by `bursts.py`."""
