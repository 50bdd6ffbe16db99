"""One thread and kept references, as in tests/torch."""

from tests.torch.conftest import one_thread
from tests.torch.train.test_gate import references

__all__ = ["one_thread", "references"]
