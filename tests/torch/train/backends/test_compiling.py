"""What torch.compile does in silence elsewhere is an error here."""

from typing import ClassVar

import pytest
import torch

from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend


class TracedOnly(CpuBackend):
    """Traces as a compiler does, and compiles nothing."""

    compiler: ClassVar[str] = "eager"


@pytest.fixture
def backend() -> TracedOnly:
    return TracedOnly(Claim(execution="compile"))


def test_a_model_that_is_compiled_too_often_does_not_run_eagerly_from_then_on(
    backend: TracedOnly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch._dynamo.config.fail_on_recompile_limit_hit", False)
    run = backend.prepare(torch.nn.Softsign())

    def run_with_many_shapes() -> None:
        for size in range(2, 14):
            run(torch.ones(size))

    with pytest.raises(Exception, match="recompile_limit") as caught:
        run_with_many_shapes()
    explained = backend.explain(caught.value)
    assert explained == (
        "recompiled",
        "a step had to be compiled more often than torch allows",
    )
