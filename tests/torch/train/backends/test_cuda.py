"""What of the CUDA backend can be held without a GPU."""

import pytest
import torch

from trnbench.train.backends.cuda import ATTENTION_SHAPE, attention_kernel


def test_the_attention_kernel_is_the_one_that_torch_chooses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert attention_kernel(torch.empty(ATTENTION_SHAPE, dtype=torch.bfloat16)) == "flash"
    assert attention_kernel(torch.empty(1, 2, 8, 16, device="meta")) == "math"
    for choice, name in ((3, "cudnn"), (2, "efficient")):
        monkeypatch.setattr(torch, "_fused_sdp_choice", lambda *_, made=choice: made)
        assert attention_kernel(torch.empty(1, 2, 8, 16)) == name
    monkeypatch.delattr(torch, "_fused_sdp_choice")
    assert attention_kernel(torch.empty(1, 2, 8, 16)) == "unknown to this torch"
