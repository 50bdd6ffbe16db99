"""The late rank of a job that hangs is found by what it sent, its process's state, or its stack."""

import pytest

from trnbench.run.hang import Standing, find_late, main_stack, say_groups, say_ranks, say_stacks

# As CPython 3.11 writes it; the worker's main thread is the one that began in entry.py.
WRITTEN = """\
a warning of some library
Thread 0x00007f0000000001 (most recent call first):
  File "/lib/python3.11/threading.py", line 320 in wait
  File "/lib/python3.11/threading.py", line 982 in run

Current thread 0x00007f0000000002 (most recent call first):
  File "/site/torch/distributed/distributed_c10d.py", line 5356 in barrier
  File "/pkg/trnbench/train/loop.py", line 140 in timed_block
  File "/pkg/trnbench/train/entry.py", line 60 in <module>

Extension modules: numpy.core._multiarray_umath, torch._C (total: 2)
"""
IN_BARRIER = main_stack(WRITTEN)
ASLEEP = '  File "/pkg/trnbench/train/data.py", line 17 in batch'
IN_BACKWARD = '  File "/site/torch/autograd/graph.py", line 829 in _engine_run_backward'


def standing(stack: str = "", progress: int = 3, state: str | None = None) -> Standing:
    return Standing(phase="train", progress=progress, state=state, stack=stack)


def test_the_main_thread_s_stack_is_taken_without_what_was_printed_around_it() -> None:
    first, *_, last = IN_BARRIER.splitlines()
    assert first.endswith("line 5356 in barrier")
    assert last.endswith("line 60 in <module>")


def test_without_the_entry_it_is_the_thread_that_took_the_signal() -> None:
    assert "barrier" in main_stack(WRITTEN.replace("entry.py", "child.py"))


@pytest.mark.parametrize("text", ["", "Killed", "Thread 0x01 (most recent call first):\n"])
def test_what_is_no_stack_is_none(text: str) -> None:
    assert main_stack(text) == ""


@pytest.mark.parametrize(
    ("standings", "late", "why"),
    [
        # It did not send the block that the other one sent.
        ([standing(ASLEEP, progress=4), standing(IN_BARRIER)], [1], "sent less"),
        # It is in no's code of torch, while the other waits in a collective.
        ([standing(IN_BARRIER), standing(ASLEEP)], [1], "does not wait"),
        ([standing(ASLEEP), standing(IN_BACKWARD)], [0], "does not wait"),
        # Of three, the one that is elsewhere.
        ([standing(IN_BACKWARD), standing(IN_BARRIER), standing(IN_BARRIER)], [0], "is elsewhere"),
        # One that cannot write a stack is known by its process.
        ([standing(IN_BARRIER), standing(state="is stopped by a signal")], [1], "is stopped"),
        # All wait alike, or nothing is known: none is named.
        ([standing(IN_BARRIER), standing(IN_BARRIER)], [], ""),
        ([standing(IN_BACKWARD), standing(IN_BARRIER)], [], ""),
        ([standing(), standing()], [], ""),
        ([standing(ASLEEP)], [], ""),
        ([standing(IN_BARRIER), standing()], [], ""),
    ],
)
def test_the_late_rank_is_the_one_that_the_others_wait_for(
    standings: list[Standing], late: list[int], why: str
) -> None:
    found, shown = find_late(standings)
    assert found == late
    assert shown.startswith(why) if why else shown == ""


def test_a_rare_place_in_the_same_code_is_named_with_its_frame() -> None:
    other = IN_BARRIER.replace("5356 in barrier", "2700 in all_gather")
    late, why = find_late([standing(IN_BARRIER)] * 3 + [standing(other)])
    assert late == [3]
    assert why == (
        "is elsewhere than the others, in all_gather (distributed/distributed_c10d.py:2700)"
    )


def test_equal_stacks_are_written_once() -> None:
    said = say_stacks([standing(IN_BARRIER)] * 3 + [standing(ASLEEP), standing()])
    assert said.count("in barrier") == 1
    assert said.startswith("ranks 0-2, innermost call first:")
    assert f"rank 3, innermost call first:\n{ASLEEP}" in said
    assert said.endswith("rank 4: no stack")
    assert say_stacks([standing(), standing()]) == ""


def test_ranks_are_written_as_ranges() -> None:
    assert say_ranks([5]) == "rank 5"
    assert say_ranks([3, 0, 1, 7]) == "ranks 0-1, 3, 7"
    assert say_groups(["'gate'", "'train'", "'gate'"]) == "'gate' (ranks 0, 2), 'train' (rank 1)"
