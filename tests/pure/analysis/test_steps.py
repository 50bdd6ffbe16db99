"""What is kept of single steps is what all of them would tell, however they came in blocks."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import make_blocks
from trnbench.analysis.records import FIRST_STEPS, LAST_STEPS, WINDOW_STEPS, StepDigest, digest_of
from trnbench.protocol.records import Block

LOSSES = st.lists(
    st.one_of(st.none(), st.floats(min_value=0, max_value=20)), min_size=1, max_size=150
)


def blocks_of(losses: list[float | None], steps: int) -> list[Block]:
    """Cut losses into blocks of so many steps; what is left over is not used."""
    times = [1.0] * (len(losses) // steps)
    return make_blocks(times, warmup=0, steps=steps, loss=lambda step: losses[step])


@given(LOSSES, st.integers(1, 20))
def test_a_digest_tells_what_the_whole_list_tells(losses: list[float | None], steps: int) -> None:
    blocks = blocks_of(losses, steps)
    digest = digest_of(blocks)
    used = losses[: len(losses) // steps * steps]
    oracles = [oracle for block in blocks for oracle in block.oracle_losses]
    pairs = list(zip(used, oracles, strict=True))
    assert digest.count == len(used)
    assert digest.first == pairs[:FIRST_STEPS]
    assert list(digest.last) == pairs[-LAST_STEPS:]
    known = [loss - oracle for loss, oracle in pairs if loss is not None]
    assert digest.known_losses == len(known)
    means = [
        math.fsum(known[at : at + WINDOW_STEPS]) / WINDOW_STEPS
        for at in range(len(known) - WINDOW_STEPS + 1)
    ]
    assert digest.lowest_excess == pytest.approx(min(means, default=math.inf), abs=1e-12)
    bad = next((step for step, loss in enumerate(used) if loss is None), None)
    assert (None if digest.unfit is None else digest.unfit.step) == bad


@given(LOSSES, st.integers(1, 20), st.integers(1, 20))
def test_how_steps_are_cut_into_blocks_changes_nothing(
    losses: list[float | None], one: int, other: int
) -> None:
    usable = losses[: len(losses) // (one * other) * (one * other)]
    first, second = (digest_of(blocks_of(usable, steps)) for steps in (one, other))
    assert first.lowest_excess == pytest.approx(second.lowest_excess, abs=1e-12)
    for name in ("count", "first", "last", "unfit", "known_losses", "fault"):
        assert getattr(first, name) == getattr(second, name)


def test_a_block_comes_back_without_its_steps_and_else_as_it_was() -> None:
    (block,) = make_blocks([1.0], warmup=0, steps=4)
    left = StepDigest().take(block)
    assert (left.losses, left.gradient_norms, left.oracle_losses) == ([], [], [])
    assert (left.seconds, left.steps, left.first_step) == (block.seconds, 4, 0)


def test_nothing_is_taken_in_after_a_fault() -> None:
    good, bad, after = make_blocks([1.0, -1.0, 1.0], warmup=0)
    digest = digest_of([good, bad, after])
    assert digest.fault is not None
    assert "took -1 s" in digest.fault[0]
    assert digest.count == 1
