"""Published runs as setups, and the table that was fitted to them."""

import math
from collections import defaultdict

import pytest

from trnbench.catalog.published import PublishedResult, published_results
from trnbench.estimate.calibration import calibration
from trnbench.estimate.published import PublishedSetup, published_setup
from trnbench.estimate.step import data_of
from trnbench.estimate.terms import terms_of

ROWS = {run.name: run for run in published_results()}


def setup_of(run: PublishedResult) -> PublishedSetup:
    found, reason = published_setup(run)
    assert found is not None, reason
    return found


def test_a_layout_is_read_as_its_source_writes_it() -> None:
    found = setup_of(ROWS["dgxc-v25.02.02-llama-3.1-405b-h100-1152-bf16"])
    layout = found.setup.layout
    assert (layout.tensor_parallel_size, layout.pipeline_parallel_size) == (8, 9)
    assert (layout.context_parallel_size, layout.pipeline_stages_per_rank) == (2, 7)
    assert layout.world_size == 1152
    assert "layout" not in found.assumed


def test_what_a_source_does_not_say_is_chosen_and_told() -> None:
    found = setup_of(ROWS["tpu-llama3.1-8b-v6e-256"])
    assert "layout" in found.assumed
    assert found.setup.layout.world_size == 256


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("runs-llama3.1-405b", "tokens of a whole run over its hours, restarts and all"),
        ("titan-llama3.1-8b-h100-8-bf16-eager", "its chips are limited below their rated power"),
        ("stas-llama3.1-8b-b200-8-s8192", "it moves states to the host's memory"),
        ("neuron-2.16.0-llama-2-7b-bf16-32n-nemo", "the source contradicts itself"),
    ],
)
def test_a_row_that_says_nothing_of_a_step_is_left_out(name: str, why: str) -> None:
    found, reason = published_setup(ROWS[name])
    assert found is None
    assert reason is not None
    assert reason.startswith(why)


def test_the_shipped_table_is_near_the_rows_that_it_was_fitted_to() -> None:
    known, errors = calibration(), defaultdict(list)
    for run in list(ROWS.values())[::12]:
        found, _ = published_setup(run, known)
        if found is None:
            continue
        data, _ = data_of(found.setup, known)
        assert data is not None, run.name
        estimated = terms_of(found.setup, known).seconds * data.slowness
        errors[found.setup.kind].append(abs(math.log(found.seconds / estimated)))
    dense = sorted(errors["dense_bf16"])
    assert len(dense) > 8
    assert dense[len(dense) // 2] < 0.2
