"""Which attention core the CPU backend uses, by the processor's instructions."""

from pathlib import Path

import pytest
import torch

from trnbench.train.backends import cpu
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend, math_attention
from trnbench.train.layers.attention import AttentionCore, fused_attention


@pytest.mark.parametrize(
    ("flags", "in_bf16"),
    [("fma avx512_bf16 amx_bf16", math_attention), ("fma avx2", fused_attention)],
)
def test_attention_in_bf16_is_by_plain_matmuls_where_the_processor_has_bf16(
    flags: str, in_bf16: AttentionCore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(f"flags\t\t: {flags}\n")
    monkeypatch.setattr(cpu, "_CPUINFO", told)
    backend = CpuBackend(Claim())
    assert backend.attention_core(torch.bfloat16) is in_bf16
    assert backend.attention_core(torch.float32) is fused_attention
