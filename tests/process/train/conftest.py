"""One thread for these tests, too: some of them train in this process beside a child."""

from tests.torch.conftest import one_thread

__all__ = ["one_thread"]
