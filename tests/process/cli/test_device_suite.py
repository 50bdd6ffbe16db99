"""The least of what `tests/proof` shows: a class of the device suite passes, a fault is seen."""

from pathlib import Path

from tests.proof.test_device_suite import NO_FALLBACK, passed, run_suite
from tests.proof.test_mutations import MUTATIONS, run_mutated


def test_the_suite_that_waits_for_a_trainium_passes_where_nothing_falls_back(
    tmp_path: Path,
) -> None:
    assert passed(run_suite(tmp_path, NO_FALLBACK)) == 1


def test_a_fault_in_the_package_is_noticed_by_a_test(tmp_path: Path) -> None:
    mutation = MUTATIONS["the first step is timed"]
    done = run_mutated(mutation, tmp_path)
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    assert mutation.says in done.stdout
