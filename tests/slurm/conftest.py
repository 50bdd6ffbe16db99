"""One Slurm cluster for all tests of this folder, which are skipped where none can be started."""

from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster, lacking


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return a running cluster of two nodes; the test skips, with its reason, where none can be."""
    if (why := lacking()) is not None:
        pytest.skip(why)
    with Cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running
