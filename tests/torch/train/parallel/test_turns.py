"""Of ranks that run the same program one compiles first; here they are threads with one store."""

import datetime
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import torch.distributed as dist

from trnbench.train.parallel.turns import Turns

AT_ONCE = datetime.timedelta(milliseconds=1)


def test_the_others_wait_until_the_first_has_compiled() -> None:
    store = dist.HashStore()  # type: ignore[attr-defined]
    order: list[str] = []
    is_begun, may_end = Event(), Event()

    def compile_first(graph: str) -> str:
        is_begun.set()
        may_end.wait()
        order.append(f"first {graph}")
        return graph

    def compile_other(graph: str) -> str:
        order.append(f"other {graph}")
        return graph

    first = Turns(store, is_first=True).taking(compile_first)
    other = Turns(store, is_first=False).taking(compile_other)
    with ThreadPoolExecutor() as pool:
        others = pool.submit(lambda: [other(graph) for graph in ("a", "b")])
        firsts = pool.submit(lambda: [first(graph) for graph in ("a", "b")])
        is_begun.wait()
        assert order == []
        may_end.set()
        assert (firsts.result(), others.result()) == (["a", "b"], ["a", "b"])
    assert [name for name in order if name.endswith("a")] == ["first a", "other a"]
    assert [name for name in order if name.endswith("b")] == ["first b", "other b"]


def test_a_rank_whose_first_does_not_come_compiles_by_itself() -> None:
    store = dist.HashStore()  # type: ignore[attr-defined]
    made = Turns(store, is_first=False, patience=AT_ONCE).taking(lambda graph: graph)
    assert [made("a"), made("b")] == ["a", "b"]


def test_a_first_that_fails_is_no_word_that_it_has_compiled() -> None:
    store = dist.HashStore()  # type: ignore[attr-defined]

    def fails() -> None:
        raise RuntimeError("neuronx-cc failed with -9")

    with pytest.raises(RuntimeError, match="-9"):
        Turns(store, is_first=True).taking(fails)()
    assert store.check(["0/begun"])
    assert not store.check(["0/done"])


def test_blocks_that_are_compiled_one_by_one_share_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another compiler for each block would mean another compilation, up to torch's limit."""
    monkeypatch.setattr("torch._functorch.config.force_non_lazy_backward_lowering", False)
    store = dist.HashStore()  # type: ignore[attr-defined]
    turns = Turns(store, is_first=True)
    compilers = {turns.in_turn("eager") for _ in range(3)}
    assert len(compilers) == 1
