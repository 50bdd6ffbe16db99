"""What of the CUDA backend can be held without a GPU."""

import pytest
import torch

from trnbench.train.backends.cuda import ATTENTION_SHAPE, attention_kernel, peer_access


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


def test_how_many_gpus_are_reached_directly_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NCCL_P2P_DISABLE", raising=False)
    assert peer_access(0, 1, lambda *_: True) == {}
    assert peer_access(1, 4, lambda *_: True) == {"peer_access": "3 of 3"}
    assert peer_access(1, 4, lambda own, other: abs(own - other) == 1) == {"peer_access": "2 of 3"}
    monkeypatch.setenv("NCCL_P2P_DISABLE", "0")
    assert peer_access(0, 2, lambda *_: True) == {"peer_access": "1 of 1"}
    monkeypatch.setenv("NCCL_P2P_DISABLE", "1")
    assert peer_access(0, 2, lambda *_: True) == {"peer_access": "0 of 1, by NCCL_P2P_DISABLE"}
