"""The models: published weights equal those that the shape comes to, and shapes complete."""

import pytest
import yaml

from tests.each import check_each
from trnbench.catalog import read_text
from trnbench.catalog.models import CatalogModel, complete_shape, models
from trnbench.config.yaml import parse_document
from trnbench.errors import did_you_mean
from trnbench.model.families import FAMILIES
from trnbench.model.flops import parameter_count
from trnbench.protocol.model import RopeScaling

PUBLISHED = {
    # Distinct weights by each model's page or paper; tiny ones are this project's.
    "tiny-llama": 893_568,
    "tiny-gpt2": 790_016,
    "tiny-moe": 1_706_624,
    "tiny-bert": 743_552,
    "tiny-vit": 442_852,
    "gpt2-124m": 124_439_808,
    "gpt2-355m": 354_823_168,
    "gpt2-774m": 774_030_080,
    "gpt2-1.5b": 1_557_611_200,
    "llama2-7b": 6_738_415_616,
    "llama3.2-1b": 1_235_814_400,
    "llama3.2-3b": 3_212_749_824,
    "llama3-8b": 8_030_261_248,
    "llama3.1-8b": 8_030_261_248,
    "llama3.1-70b": 70_553_706_496,
    "llama3.1-405b": 405_853_388_800,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
    "qwen3-32b": 32_762_123_264,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-7b": 7_615_616_512,
    "mistral-7b-v0.1": 7_241_732_096,
    "mistral-7b-v0.3": 7_248_023_552,
    "mixtral-8x7b": 46_702_792_704,
    "mixtral-8x22b": 140_620_634_112,
    "qwen1.5-moe-a2.7b": 14_315_784_192,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen3-235b-a22b": 235_093_634_560,
    "deepseek-moe-16b": 16_375_728_128,
    "gpt-oss-20b": 20_914_757_184,
    "gpt-oss-120b": 116_829_156_672,
    "bert-base": 109_514_298,
    "bert-large": 335_174_458,
    "vit-b16": 86_567_656,
    "vit-l16": 304_326_632,
    "vit-h14": 632_045_800,
}


def test_every_model_of_the_catalog_is_held_to_a_published_count() -> None:
    assert models().keys() == PUBLISHED.keys()


def test_the_published_weights_are_those_of_the_shape() -> None:
    def check(name: str) -> None:
        model = models()[name]
        assert model.name == name
        assert model.parameter_count == PUBLISHED[name]
        assert parameter_count(model.shape) == PUBLISHED[name]

    check_each(PUBLISHED, check)


def test_every_model_has_a_source_and_sizes_that_fit() -> None:
    def check(model: CatalogModel) -> None:
        shape = model.shape
        assert len(model.source) > 10
        assert shape.heads % shape.kv_heads == 0
        assert shape.head_dim % 2 == 0
        assert shape.family in FAMILIES
        assert (shape.experts is not None) == (shape.family == "moe")
        assert (shape.image is not None) == (shape.family == "vit")
        assert shape.init_std == 0.02

    check_each(models().values(), check)


@pytest.mark.parametrize(
    ("name", "theta", "scaling"),
    [
        ("tiny-llama", 10_000, None),
        ("llama3-8b", 500_000, None),
        ("llama3.2-1b", 500_000, RopeScaling(
            factor=32.0, low_frequency_factor=1.0, high_frequency_factor=4.0,
            original_max_positions=8192,
        )),
        ("llama3.1-70b", 500_000, RopeScaling(
            factor=8.0, low_frequency_factor=1.0, high_frequency_factor=4.0,
            original_max_positions=8192,
        )),
        ("qwen3-8b", 1_000_000, None),
    ],
)  # fmt: skip
def test_rotary_frequencies_are_those_of_the_config_file(
    name: str, theta: float, scaling: RopeScaling | None
) -> None:
    shape = models()[name].shape
    assert shape.rope_theta == theta
    assert shape.rope_scaling == scaling


def test_models_that_share_a_setting_have_it_each() -> None:
    assert (
        models()["llama3.1-405b"].shape.rope_scaling == models()["llama3.1-70b"].shape.rope_scaling
    )


SIZES = {
    "family": "llama",
    "layers": 2,
    "hidden_size": 64,
    "heads": 4,
    "intermediate_size": 128,
    "vocabulary_size": 256,
    "max_positions": 32,
}


def test_a_shape_is_completed_from_its_sizes() -> None:
    shape = complete_shape(SIZES)
    assert (shape.kv_heads, shape.head_dim) == (4, 16)
    assert (shape.tied_embeddings, shape.qk_norm, shape.rope_scaling) == (False, False, None)
    assert (shape.norm_epsilon, shape.rope_theta, shape.init_std) == (1e-5, 10_000, 0.02)


def test_what_is_given_is_not_completed() -> None:
    shape = complete_shape({**SIZES, "kv_heads": 2, "head_dim": 32, "init_std": 0.01})
    assert (shape.kv_heads, shape.head_dim, shape.init_std) == (2, 32, 0.01)


@pytest.mark.parametrize("size", list(SIZES))
def test_a_missing_size_is_named(size: str) -> None:
    with pytest.raises(KeyError) as caught:
        complete_shape({**SIZES, size: None})
    assert caught.value.args == (size,)


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(TypeError, match="hidden_dim"):
        complete_shape({**SIZES, "hidden_dim": 3})


def test_a_misspelt_model_is_offered_its_nearest() -> None:
    assert did_you_mean("lama3-8b", models()).startswith("did you mean llama3-8b or ")
    assert did_you_mean("Qwen3-0.6B", models()).startswith("did you mean qwen3-0.6b or ")
    assert did_you_mean("###", models()) == ""


def test_a_name_in_another_case_or_not_written_to_its_end_is_recognised() -> None:
    types = ["p4d.24xlarge", "p5.48xlarge", "p5.4xlarge", "trn2.48xlarge"]
    assert did_you_mean("TRN2.48XLARGE", types).startswith("did you mean trn2.48xlarge")
    assert did_you_mean("p5", types) == "did you mean p5.48xlarge or p5.4xlarge?"


def test_the_file_means_the_same_to_the_strict_reader_of_configs() -> None:
    strict = parse_document(read_text("models.yaml"), "models.yaml").data
    assert yaml.safe_load(read_text("models.yaml")) == strict
