"""Names of operators and kernels to kinds of work."""

import re

from tests.each import check_each
from trnbench.catalog.facts import OPTIMIZER, OTHERS, class_of, operator_classes

NAMES = {
    "matrix products": (
        "aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::convolution_backward",
        "mkldnn::_linear_pointwise", "aten::_scaled_mm",
        "trnbench::add_product", "trnbench::multiply_runs",
        "ampere_sgemm_128x64_tn", "sm90_xmma_gemm_bf16bf16_bf16f32", "nvjet_tst_128x256_64x4",
    ),
    "attention": (
        "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
        "aten::scaled_dot_product_attention", "pytorch_flash::flash_fwd_kernel<int>",
        "fmha_cutlassF_f32_aligned_64x64_rf_sm80",
    ),
    "loss": (
        "aten::_log_softmax", "aten::nll_loss_backward", "aten::cross_entropy_loss",
        "void (anonymous namespace)::cunn_log_softmax_forward<float>",
    ),
    OPTIMIZER: (
        "aten::_fused_adamw_", "Optimizer.step#AdamW.step", "aten::_foreach_norm",
        "aten::linalg_vector_norm",
    ),
    "compiled kernels": (
        "## Call CompiledFxGraph fjcphjiv47w3xi7mcuuedspju4w4gykpjpzq6yjhjd7ufg3nipr5 ##",
        "triton_poi_fused_add_mul_0", "CompiledFunctionBackward",
    ),
    "embedding and indexing": (
        "aten::embedding", "aten::embedding_dense_backward", "aten::index_select", "aten::topk",
        "aten::_index_put_impl_", "aten::masked_fill_", "aten::scatter_add",
    ),
    "copies, fills and conversions": (
        "fsdp::all_gather_copy_in", "fsdp::split_with_sizes_copy", "fsdp::chunk_cat",
        "aten::_chunk_cat",
        "aten::copy_", "aten::_to_copy", "aten::cat", "aten::fill_",
        "Memset (Device)", "Memcpy DtoD (Device -> Device)", "aten::_copy_from",
    ),
    "framework": (
        "PythonSubclass", "RegisterPostBackwardFunction", "_ToTorchTensor",
        "FSDP::all_gather (model.blocks.0)", "FSDP::post_backward_reduce (0)",
        "DistributedDataParallel.forward", "torch::distributed::reducer::mul_out",
        "torch.distributed.ddp.reducer::copy_bucket_to_grad",
        "aten::view", "aten::as_strided", "aten::empty_strided", "aten::t", "aten::detach",
        "autograd::engine::evaluate_function: MulBackward0", "AddmmBackward0", "_LinearBackward",
        "torch::autograd::AccumulateGrad", "TorchDynamo Cache Lookup", "cudaLaunchKernel",
    ),
    "waiting for the device": ("cudaDeviceSynchronize", "cudaStreamSynchronize"),
    "communication": (
        "nccl:all_reduce", "c10d::allreduce_", "ncclDevKernel_AllReduce_Sum_f32_RING_LL(x)",
        "gloo:all_reduce", "c10d::_allgather_base_", "_c10d_functional::wait_tensor",
        "record_param_comms", "nccl:_all_gather_base",
    ),
    "normalisation and elementwise": (
        "aten::mul", "aten::add_", "aten::sum", "aten::_fused_rms_norm", "aten::native_layer_norm",
        "aten::gelu_backward", "aten::silu", "aten::_softmax", "aten::rsqrt", "aten::div",
        "void at::native::vectorized_elementwise_kernel<4, at::native::AddFunctor>",
    ),
    OTHERS: ("aten::a_thing_of_tomorrow", "", "a name\nof two lines"),
}  # fmt: skip


def test_a_name_is_of_its_class() -> None:
    def check(name: str, expected: str) -> None:
        assert class_of(name) == expected

    check_each([(name, kind) for kind, names in NAMES.items() for name in names], check)


def test_each_class_of_the_table_is_proven_by_a_name() -> None:
    assert {row.name for row in operator_classes()} == NAMES.keys() - {OTHERS}


def test_all_that_the_optimizer_calls_is_its_own() -> None:
    assert class_of("aten::mul_", "optimizer") == OPTIMIZER
    assert class_of("aten::mul_") != OPTIMIZER


def test_each_row_says_what_it_is_of_and_none_stands_twice() -> None:
    rows = operator_classes()
    assert all(row.what and row.name and re.compile(row.pattern) for row in rows)
    assert len({row.pattern for row in rows}) == len(rows)
