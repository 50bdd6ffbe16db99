"""On which chip, rented how, does a dollar train the most tokens of a transformer.

This file imports nothing: the child process loads the package under an interpreter that has
only the standard library and torch.
"""

__version__ = "0.1.0"
