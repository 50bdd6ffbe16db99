"""The sequence length and the batch of a config that gives none."""

from dataclasses import replace

import pytest

from tests.pure.plan.test_shipped import devices_of
from tests.pure.run.plans import CPU, H100, TODAY, make_case, make_machine, plan_case
from trnbench.catalog.models import models
from trnbench.config.load import Conflict
from trnbench.errors import ConfigError
from trnbench.machine.describe import Devices
from trnbench.plan.defaults import HOST_PASS_TOKENS, PASS_TOKENS
from trnbench.plan.make import make_plan, plan_all
from trnbench.run.configs import open_config
from trnbench.schema.plan import Plan


def plan_alone(model: str, instance: str | None = None, more: str = "", **keys: str) -> Plan:
    """Plan a model and nothing else, on a CPU or where all devices of an instance are found."""
    found = (CPU,) if instance is None else (devices_of(instance), CPU)
    text = f"model: {model}\n{more}"
    return plan_case(keys, found=found, machine=make_machine(instance), text=text)


@pytest.mark.parametrize("instance", [None, "p5.48xlarge", "trn2.3xlarge", "trn2.48xlarge"])
@pytest.mark.parametrize("model", models())
def test_every_model_alone_is_a_plan(model: str, instance: str | None) -> None:
    plan = plan_alone(model, instance)
    work, data = plan.workload, plan.parallel.layout.data_parallel_size
    assert work.reason
    assert work.micro_batch_size * work.gradient_accumulation_steps * data == work.global_batch_size
    assert 1 <= work.sequence_length <= plan.model.own_shape.max_positions
    most = HOST_PASS_TOKENS if instance is None else PASS_TOKENS
    window = plan.model.own_shape.sliding_window or 0
    assert work.micro_batch_size * work.sequence_length <= max(most, window)
    if instance is not None:
        chips = plan.device.chips_billed * plan.device.devices_per_chip
        assert plan.parallel.world_size == chips


def test_the_batch_is_the_largest_that_fits_without_more_recomputation() -> None:
    plan = plan_alone("llama2-7b", "p5.48xlarge")
    assert (plan.workload.micro_batch_size, plan.workload.step.recompute) == (2, "none")
    assert plan.workload.reason is not None
    assert plan.workload.reason.endswith("2 a pass, for 4 would recompute more")
    more = plan_alone(
        "llama2-7b", "p5.48xlarge",
        **{"workload.micro_batch_size": "4", "workload.global_batch_size": "32"},
    )  # fmt: skip
    assert more.workload.step.recompute != "none"
    assert more.workload.reason == "4096 tokens are all that the model takes"


def test_a_model_that_fits_nowhere_has_one_sequence_and_says_so() -> None:
    plan = plan_alone("llama3.1-405b", "p5.48xlarge")
    assert plan.workload.micro_batch_size == 1
    assert plan.workload.reason is not None
    assert plan.workload.reason.endswith("1 a pass, and even that does not fit")


def test_sizes_that_are_written_are_kept() -> None:
    plan = plan_alone("llama3.2-1b", "p5.48xlarge", **{"workload.micro_batch_size": "1"})
    assert (plan.workload.micro_batch_size, plan.workload.global_batch_size) == (1, 8)
    plan = plan_alone("llama3.2-1b", "p5.48xlarge", **{"workload.sequence_length": "512"})
    assert plan.workload.sequence_length == 512
    plan = plan_case()
    assert plan.workload.reason is None


def test_each_rank_of_a_layout_that_is_written_has_work() -> None:
    plan = plan_alone(
        "llama3.1-8b", "p5.48xlarge",
        "parallel: {tensor_parallel_size: 2, pipeline_parallel_size: 2}\n",
    )  # fmt: skip
    assert plan.parallel.world_size == 8
    assert plan.workload.gradient_accumulation_steps >= 2


def test_documents_and_windows_lengthen_the_sequence() -> None:
    assert plan_alone("mistral-7b-v0.1").workload.sequence_length == 4096
    plan = plan_alone("tiny-llama", **{"workload.document_length": "512"})
    assert plan.workload.sequence_length == 512


def test_an_unknown_gpu_has_one_sequence() -> None:
    unknown = replace(H100, device_name="NVIDIA Unheard-of 3000", device_count=1)
    plan = plan_case(text="model: llama3.2-1b", found=(unknown, CPU))
    assert plan.workload.micro_batch_size == 1
    assert plan.workload.reason is not None
    assert "memory" in plan.workload.reason


def test_the_faults_of_a_case_are_told_at_once() -> None:
    case = make_case(
        {
            "model": "{base: llama3.2-1b, heads: 33, vocabulary_size: 10}",
            "price.instance": "trn2.48xlarg",
            "measure.max_usd": "3",
        }
    )
    with pytest.raises(ConfigError, match="kv_heads") as caught:
        plan_all([case], machine=make_machine(), devices=Devices((CPU,), {}), today=TODAY)
    said = [problem.message for problem in caught.value.problems]
    keys = ("model.kv_heads", "model.vocabulary_size", "price.instance", "measure.max_usd")
    assert [key in message for key, message in zip(keys, said, strict=True)] == [True] * 4


def test_an_external_model_needs_a_length() -> None:
    text = "model: {huggingface: LlamaForCausalLM, config: {num_hidden_layers: 2}}\n"
    with pytest.raises(Conflict, match=r"workload\.sequence_length: is missing"):
        make_plan(
            make_case(text=text),
            machine=make_machine(),
            devices=None,
            today=TODAY,
            describe=lambda model, length: pytest.fail("it was described without a length"),
        )


def test_the_name_of_a_model_is_a_config() -> None:
    document = open_config("qwen3-0.6b")
    assert document.data == {"name": "qwen3-0.6b", "model": "qwen3-0.6b"}
    assert open_config("llama3.2-1b").data["workload"]  # a config that ships goes first
