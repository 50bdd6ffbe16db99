"""Tensor ranks whose state is sharded, or whose step is compiled, train as one process."""

from pathlib import Path

from tests.process.train.parallel.test_split import check_ranks


def test_four_ranks_train_as_one_process(tmp_path: Path) -> None:
    """Two of each group: the first two are one tensor group."""
    check_ranks(tmp_path, "four", 4)


def test_two_compiled_ranks_train_as_one(tmp_path: Path) -> None:
    check_ranks(tmp_path, "compiled", 2)
