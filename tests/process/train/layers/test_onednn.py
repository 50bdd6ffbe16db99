"""fp32 products by oneDNN: fp32's own digits."""

import subprocess
import sys

import pytest
import torch

from trnbench.train.layers import onednn

pytestmark = pytest.mark.skipif(not onednn.has_onednn(), reason="this torch has no oneDNN")


@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True), (True, True)])
def test_a_product_has_the_digits_of_fp32_however_its_operands_lie(
    transposed: tuple[bool, bool],
) -> None:
    left = torch.randn(33, 70).T.contiguous().T if transposed[0] else torch.randn(33, 70)
    right = torch.randn(70, 21).T.contiguous().T if transposed[1] else torch.randn(70, 21)
    exact = left.double() @ right.double()
    error = (onednn.multiply(left, right).double() - exact).abs().max()
    assert error < 3 * (left @ right - exact).abs().max() + 1e-5, "nothing was rounded to less"


def test_a_product_does_not_import_torch_s_compiler() -> None:
    program = (
        "import sys, torch\n"
        "from trnbench.train.layers import onednn\n"
        "onednn.multiply(torch.ones(2, 3), torch.ones(3, 2))\n"
        "sys.exit('torch._dynamo' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_other_types_go_torch_s_way() -> None:
    left, right = torch.randn(4, 8).bfloat16(), torch.randn(8, 3).bfloat16()
    assert torch.equal(onednn.multiply(left, right), left @ right)
