"""What of the CUDA backend can be held without a GPU."""

import os
from pathlib import Path

import pytest
import torch

from trnbench.train.backends.cuda import (
    ATTENTION_SHAPE,
    attention_kernel,
    log_connections,
    nccl_variables,
    peer_access,
    read_transports,
)


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


NCCL = Path(__file__).resolve().parents[3] / "data" / "nvidia"


@pytest.mark.parametrize(
    ("log", "transports"),
    [("p2p", {"P2P": 2}), ("mixed", {"SHM": 1, "NET/Socket": 1, "NET/OFI": 1})],
)
def test_nccl_s_own_log_tells_how_bytes_move(log: str, transports: dict[str, int]) -> None:
    assert read_transports((NCCL / f"nccl.{log}.log").read_text()) == transports
    assert read_transports("NCCL INFO Connected all rings") is None


def test_nccl_is_asked_to_log_unless_the_user_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_DEBUG", "WARN")
    assert log_connections() is None
    for name in ("NCCL_DEBUG", "NCCL_DEBUG_FILE", "NCCL_DEBUG_SUBSYS"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    made = log_connections()
    assert made is not None
    assert os.environ["NCCL_DEBUG_FILE"] == str(made)
    made.unlink()


def test_variables_of_nccl_are_told_without_paths_and_its_log() -> None:
    given = {"NCCL_P2P_LEVEL": "NVL", "NCCL_DEBUG": "INFO", "NCCL_TOPO_FILE": "/etc/a", "PATH": ""}
    assert nccl_variables(given) == {"NCCL_P2P_LEVEL": "NVL"}
