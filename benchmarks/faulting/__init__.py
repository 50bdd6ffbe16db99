"""The parts of `benchmarks/faults.py`: commands and their processes, kinds of faults, a reader."""
