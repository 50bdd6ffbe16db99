"""The single things that `trnbench peak` times do what they are named for."""

import pytest
import torch

from trnbench.protocol.orders import AttentionTask, MatmulTask, MoveTask
from trnbench.train import microbench
from trnbench.train.backends.base import Backend, Claim
from trnbench.train.backends.cpu import CpuBackend


@pytest.fixture
def operands(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Note each operand as it is made."""
    made: list[torch.Tensor] = []
    make = microbench._values

    def noted(backend: Backend, dtype: torch.dtype, *shape: int) -> torch.Tensor:
        made.append(make(backend, dtype, *shape))
        return made[-1]

    monkeypatch.setattr(microbench, "_values", noted)
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_layout_is_the_product_that_a_layer_makes(
    operands: list[torch.Tensor], dtype: torch.dtype
) -> None:
    backend = CpuBackend(Claim())
    expected = {
        "nt": lambda a, b: a @ b.t(),  # Y = X W^T
        "nn": lambda a, b: a @ b,  # dX = dY W
        "tn": lambda a, b: a.t() @ b,  # dW = dY^T X
    }
    for layout, multiply in expected.items():
        operands.clear()
        made = microbench.matmul(backend, dtype, 24, 16, 40, layout)()  # type: ignore[arg-type]
        assert isinstance(made, torch.Tensor)
        assert made.shape == (24, 16)
        torch.testing.assert_close(made.float(), multiply(*operands).float(), atol=0.3, rtol=0.05)


@pytest.mark.parametrize("layout", ["nt", "nn", "tn"])
def test_each_layout_is_that_product_in_fp8_too(operands: list[torch.Tensor], layout: str) -> None:
    task = MatmulTask(name="p", precision="fp8", m=32, n=16, k=48, layout=layout)  # type: ignore[arg-type]
    made = microbench.make_work(CpuBackend(Claim()), task)()
    left, right = (each.float() for each in operands)
    left = left.t() if layout == "tn" else left
    right = right.t() if layout == "nt" else right
    assert isinstance(made, torch.Tensor)
    assert made.dtype == torch.bfloat16
    # Each factor is rounded to 4 significant bits, and 48 of their products are added.
    torch.testing.assert_close(made.float(), left @ right, atol=1.5, rtol=0.1)


@pytest.mark.parametrize("motion", ["copy", "triad"])
def test_memory_is_moved(operands: list[torch.Tensor], motion: str) -> None:
    task = MoveTask(name="m", motion=motion, array_bytes=4096)  # type: ignore[arg-type]
    made = microbench.move(CpuBackend(Claim()), task)()
    assert isinstance(made, torch.Tensor)
    assert made.numel() * 4 == 4096
    first = operands[0]
    expected = first if motion == "copy" else first + microbench.TRIAD_FACTOR * operands[1]
    torch.testing.assert_close(made, expected)


@pytest.mark.parametrize("passes", ["forward", "training"])
def test_attention_is_made_of_its_heads_and_gives_its_gradients(passes: str) -> None:
    task = AttentionTask(
        name="a", precision="bf16", batch=2, heads=4, kv_heads=2, tokens=16, head_dim=8,
        passes=passes,  # type: ignore[arg-type]
    )  # fmt: skip
    made = microbench.attention(CpuBackend(Claim()), task)()
    if passes == "forward":
        assert isinstance(made, torch.Tensor)
        assert made.shape == (2, 4, 16, 8)
        assert not made.requires_grad
    else:
        assert isinstance(made, tuple)
        assert [tuple(each.shape) for each in made] == [(2, 4, 16, 8), (2, 2, 16, 8), (2, 2, 16, 8)]
        assert all(each.abs().sum() > 0 for each in made)
