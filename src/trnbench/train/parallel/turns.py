"""Ranks that run the same program compile it once: one first, and the others out of its cache.

A vendor's compiler takes minutes of several processors and gigabytes of the host's memory for each
graph; 64 ranks that begin with an empty cache would each start one. Why so:
docs/decisions/0029-one-rank-compiles-first.md.
"""

import datetime
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

PATIENCE = datetime.timedelta(minutes=1)
"""For the first rank to come to a graph that this one has come to. It rests on nothing: after it, a
rank compiles by itself, which costs time and memory, and is as right."""

FOREVER = datetime.timedelta(days=1)
"""For a compilation that has begun: the parent finds a hang long before."""

Compile = Callable[..., Any]


class Turns:
    """One rank's turns at the compiler, graph after graph."""

    def __init__(
        self, store: Any, *, is_first: bool, patience: datetime.timedelta = PATIENCE
    ) -> None:
        """Prepare.

        Args:
            store: torch.distributed's, of the ranks that run the same program.
            is_first: whether this rank is the one that compiles first.
            patience: for the first rank to come.
        """
        self._store = store
        self._is_first = is_first
        self._patience = patience
        self._graphs = 0
        self._compilers: dict[str, Compile] = {}

    def in_turn(self, compiler: str) -> Compile:
        """Return a compiler for `torch.compile` that waits for its turn, each time the same.

        torch compiles anew for another one. Forward and backward are compiled in one turn: later,
        nothing would tell of the backward.
        """
        if compiler not in self._compilers:
            from torch._dynamo.backends.registry import lookup_backend

            torch._functorch.config.force_non_lazy_backward_lowering = True
            self._compilers[compiler] = self.taking(lookup_backend(compiler))
        return self._compilers[compiler]

    def taking(self, compile_graph: Compile) -> Compile:
        """Return a function that compiles as another does, when it is this rank's turn."""

        def compile_in_turn(*arguments: Any, **named: Any) -> Any:
            number, self._graphs = self._graphs, self._graphs + 1
            begun, done = f"{number}/begun", f"{number}/done"
            if not self._is_first:
                if self._comes(begun):
                    self._store.wait([done], FOREVER)
                return compile_graph(*arguments, **named)
            self._store.set(begun, "")
            made = compile_graph(*arguments, **named)
            self._store.set(done, "")  # not after an error: its rank ends the job
            return made

        return compile_in_turn

    def _comes(self, key: str) -> bool:
        try:
            self._store.wait([key], self._patience)
        except dist.DistStoreError:
            self._patience = datetime.timedelta(milliseconds=1)  # its graphs are others
            return False
        return True
