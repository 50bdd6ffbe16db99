"""Parameters and operations: worked examples to the last digit, and what must hold for any shape.

The worked figures were computed by hand from each model's published config file and held against
torch's own FLOP counter; the ratios are those that other trainers' formulas give for the same run.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.catalog.models import complete_shape, models
from trnbench.model.families import embedding_parameters
from trnbench.model.flops import (
    CONVENTIONS,
    DEFAULT_CONVENTION,
    FULL_CONVENTION,
    block_matmul_parameters,
    block_parameters,
    flops_per_token,
    parameter_count,
)
from trnbench.protocol.model import ModelShape


@pytest.mark.parametrize(
    ("name", "length", "layers", "head", "causal", "full", "palm", "aws"),
    [
        ("llama3-8b", 8192, 6_979_321_856, 525_336_576,
         51_470_401_536, 57_912_852_480, 61_066_469_376, 54_760_833_024),
        ("llama3.1-70b", 8192, 68_451_041_280, 1_050_673_152,
         449_222_541_312, 481_434_796_032, 487_746_748_416, 475_130_757_120),
        ("llama3.1-405b", 8192, 401_646_551_040, 2_101_346_304,
         2_523_955_986_432, 2_625_424_588_800, 2_638_057_537_536, 2_612_816_510_976),
        ("gpt2-124m", 1024, 84_934_656, 38_597_376,
         797_815_296, 854_438_400, 859_885_056, 622_854_144),
    ],
)  # fmt: skip
def test_the_worked_examples_hold_to_the_last_digit(
    name: str, length: int, layers: int, head: int, causal: int, full: int, palm: int, aws: int
) -> None:
    shape = models()[name].shape
    assert shape.layers * block_matmul_parameters(shape, shape.layers - 1) == layers
    assert embedding_parameters(shape) == head
    assert {id_: flops_per_token(shape, length, id_) for id_ in CONVENTIONS} == {
        "matmul-causal-v1": causal,
        "matmul-full-v1": full,
        "palm-6n": palm,
        "aws-trn1": aws,
    }


def test_the_parts_of_the_worked_example_are_the_published_ones() -> None:
    shape = models()["llama3-8b"].shape
    causal = flops_per_token(shape, 8192)
    full = flops_per_token(shape, 8192, FULL_CONVENTION)
    assert full - causal == 6_442_450_944  # the causal attention core
    assert causal - (full - causal) == 45_027_950_592  # six per weight of the matrix products


@pytest.mark.parametrize(
    ("length", "ratio"),
    [(2048, 1.034), (4096, 1.067), (8192, 1.125), (32768, 1.364), (131072, 1.696)],
)
def test_masked_attention_weighs_more_in_longer_sequences(length: int, ratio: float) -> None:
    shape = models()["llama3-8b"].shape
    full, causal = (
        flops_per_token(shape, length, id_) for id_ in (FULL_CONVENTION, DEFAULT_CONVENTION)
    )
    assert full / causal == pytest.approx(ratio, abs=6e-4)


@pytest.mark.parametrize(
    ("name", "length", "ratio"), [("llama3-8b", 8192, 1.1864), ("gpt2-124m", 1024, 1.0778)]
)
def test_counting_all_parameters_gives_the_published_excess(
    name: str, length: int, ratio: float
) -> None:
    shape = models()[name].shape
    assert flops_per_token(shape, length, "palm-6n") / flops_per_token(shape, length) == (
        pytest.approx(ratio, abs=5e-5)
    )


def test_the_trn1_convention_gives_the_utilization_that_was_published() -> None:
    """BERT-large's blocks at 128 tokens: 26,534.5 tokens/s a chip of 190 TFLOP/s are 25.83 %.

    Source: AWS Neuron documentation, Trn1 training performance table of release 2.15.
    """
    blocks = complete_shape(
        {
            "family": "gpt2",
            "layers": 24,
            "hidden_size": 1024,
            "heads": 16,
            "intermediate_size": 4096,
            "vocabulary_size": 30522,
            "max_positions": 512,
        }
    )
    utilization = 53_069 * 128 / 256 * flops_per_token(blocks, 128, "aws-trn1") / 190e12
    assert round(100 * utilization, 2) == 25.83


@pytest.mark.parametrize(("rate", "percent"), [(5762, 33.7), (6667, 39.0)])
def test_the_full_convention_gives_the_utilization_that_was_published(
    rate: float, percent: float
) -> None:
    """torchtitan, Llama 3 8B on H100 at 8,192 tokens: 33 % to 39 %.

    Source: torchtitan `benchmarks/llama3_h100_202412_torchtitan.md`.
    """
    flops = flops_per_token(models()["llama3-8b"].shape, 8192, FULL_CONVENTION)
    assert round(100 * rate * flops / 989e12, 1) == percent


def test_an_unknown_convention_is_refused() -> None:
    with pytest.raises(KeyError, match="megatron"):
        flops_per_token(models()["tiny-llama"].shape, 128, "megatron")


def test_weights_outside_matrix_products_are_counted_once_each() -> None:
    llama, gpt2 = models()["tiny-llama"].shape, models()["tiny-gpt2"].shape
    # Two RMSNorms of 128; with norms on queries and keys also two of a head's 32.
    assert (
        block_parameters(llama, llama.layers - 1) - block_matmul_parameters(llama, llama.layers - 1)
        == 2 * 128
    )
    qk = replace(llama, qk_norm=True)
    assert (
        block_parameters(qk, qk.layers - 1) - block_matmul_parameters(qk, qk.layers - 1)
        == 2 * 128 + 2 * 32
    )
    # Two LayerNorms with biases; biases of q, k, v and output projection, and of both MLP layers.
    assert (
        block_parameters(gpt2, gpt2.layers - 1) - block_matmul_parameters(gpt2, gpt2.layers - 1)
        == 4 * 128 + 4 * 128 + 512 + 128
    )
    # Token embedding (tied), positions, and the last LayerNorm.
    outside = parameter_count(gpt2) - 2 * block_parameters(gpt2, gpt2.layers - 1)
    assert outside == 2048 * 128 + 1024 * 128 + 2 * 128


shapes = st.builds(
    ModelShape,
    family=st.sampled_from(["llama", "gpt2"]),
    layers=st.integers(1, 200),
    hidden_size=st.integers(1, 20_000),
    heads=st.integers(1, 128),
    kv_heads=st.integers(1, 128),
    head_dim=st.integers(1, 256),
    intermediate_size=st.integers(1, 60_000),
    vocabulary_size=st.integers(1, 300_000),
    max_positions=st.integers(1, 200_000),
    tied_embeddings=st.booleans(),
    qk_norm=st.booleans(),
    norm_epsilon=st.just(1e-5),
    rope_theta=st.just(1e4),
    rope_scaling=st.none(),
    init_std=st.just(0.02),
)
lengths = st.integers(1, 200_000)


@given(shapes, lengths)
def test_full_attention_counts_twice_the_causal_core(shape: ModelShape, length: int) -> None:
    causal, full, doubled = (
        flops_per_token(shape, n, id_)
        for n, id_ in (
            (length, DEFAULT_CONVENTION),
            (length, FULL_CONVENTION),
            (2 * length, DEFAULT_CONVENTION),
        )
    )
    assert causal < full == doubled


@given(shapes, lengths)
def test_the_head_is_work_whether_it_is_tied_or_not(shape: ModelShape, length: int) -> None:
    tied, untied = (replace(shape, tied_embeddings=is_tied) for is_tied in (True, False))
    for convention in (DEFAULT_CONVENTION, FULL_CONVENTION, "aws-trn1"):
        assert flops_per_token(tied, length, convention) == flops_per_token(
            untied, length, convention
        )
    assert parameter_count(untied) - parameter_count(tied) == embedding_parameters(shape)


@given(shapes, lengths)
def test_leaving_the_head_out_costs_six_for_each_of_its_weights(
    shape: ModelShape, length: int
) -> None:
    full = flops_per_token(shape, length, FULL_CONVENTION)
    without = flops_per_token(shape, length, "aws-trn1")
    assert full - without == pytest.approx(6 * embedding_parameters(shape), rel=1e-6)


@given(shapes, lengths, st.integers(1, 5))
def test_layers_add_up(shape: ModelShape, length: int, times: int) -> None:
    more = replace(shape, layers=shape.layers * times)
    assert parameter_count(more) - parameter_count(shape) == (
        (times - 1) * shape.layers * block_parameters(shape, shape.layers - 1)
    )
    assert flops_per_token(more, length, "aws-trn1") == pytest.approx(
        times * flops_per_token(shape, length, "aws-trn1"), rel=1e-12
    )


@given(shapes, lengths)
def test_no_convention_counts_less_than_six_for_each_block_weight(
    shape: ModelShape, length: int
) -> None:
    least = 6 * shape.layers * block_matmul_parameters(shape, shape.layers - 1)
    assert all(flops_per_token(shape, length, id_) > least for id_ in CONVENTIONS)
