"""Four ranks, tensor groups of two whose state is sharded over the groups, train as one process."""

from pathlib import Path

from tests.process.train.parallel.jobs import run_ranks
from tests.process.train.parallel.tensor_job import SHARDED
from tests.process.train.parallel.test_tensor import JOB, check_job


def test_four_ranks_train_as_one_process(tmp_path: Path) -> None:
    """Two of each group: the first two are one tensor group."""
    run_ranks(JOB, tmp_path, 4)
    check_job(tmp_path, SHARDED)
