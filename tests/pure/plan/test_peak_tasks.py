"""What `trnbench peak` times: a model's products in the layouts of a step, each under its name."""

from collections import Counter
from dataclasses import replace

import pytest

from trnbench.analysis.microbench import amount_of
from trnbench.catalog.models import models
from trnbench.model.matmuls import training_matmuls
from trnbench.plan.microbench import (
    ACCELERATOR,
    PROCESSOR,
    Sizes,
    collective_tasks,
    single_tasks,
)
from trnbench.protocol.orders import MatmulTask
from trnbench.protocol.parallel import ALL_REDUCE_BYTES


@pytest.mark.parametrize("sizes", [PROCESSOR, ACCELERATOR])
@pytest.mark.parametrize(
    "name", ["gpt2-124m", "llama3-8b", "mixtral-8x7b", "bert-large", "vit-b16"]
)
def test_no_two_tasks_have_one_name(sizes: Sizes, name: str) -> None:
    shape = models()[name].shape
    planned = [
        *single_tasks(replace(sizes, batch=1, tokens=128), shape, ("fp32", "bf16")),
        *collective_tasks(sizes, 2),
        *collective_tasks(sizes, 4),
    ]
    names = Counter(each.task.name for each in planned)
    assert names.most_common(1)[0][1] == 1


def test_the_tasks_of_a_model_are_the_products_of_its_step() -> None:
    shape = models()["llama3-8b"].shape
    tasks = [
        p
        for p in single_tasks(replace(PROCESSOR, batch=2, tokens=64), shape, ("bf16",))
        if p.group == "model"
    ]
    work = sum(planned.count * amount_of(planned.task) for planned in tasks)
    assert work == sum(product.flops for product in training_matmuls(shape, 2, 64))


def test_a_layer_s_gradients_have_the_edges_and_layouts_of_its_own() -> None:
    shape = models()["llama3-8b"].shape
    tasks = {
        p.task.name: p.task
        for p in single_tasks(replace(PROCESSOR, batch=1, tokens=64), shape, ("bf16",))
    }
    found = [tasks[f"bf16 MLP's down {each}"] for each in ("forward", "dX", "dW")]
    assert all(isinstance(task, MatmulTask) for task in found)
    edges = [(t.m, t.n, t.k, t.layout) for t in found if isinstance(t, MatmulTask)]
    assert edges == [
        (64, 4096, 14336, "nt"),  # Y = X W^T
        (64, 14336, 4096, "nn"),  # dX = dY W
        (4096, 14336, 64, "tn"),  # dW = dY^T X
    ]


def test_nobody_asks_for_the_gradient_of_a_pixel() -> None:
    shape = models()["vit-b16"].shape
    names = [
        p.task.name for p in single_tasks(replace(PROCESSOR, batch=1, tokens=197), shape, ("fp32",))
    ]
    assert "fp32 patches dW" in names
    assert "fp32 patches dX" not in names


@pytest.mark.parametrize("sizes", [PROCESSOR, ACCELERATOR])
def test_the_all_reduce_that_a_job_times_is_timed_at_every_number_of_ranks(sizes: Sizes) -> None:
    for is_largest in (True, False):
        tasks = [each.task for each in collective_tasks(sizes, 4, is_largest=is_largest)]
        assert f"all_reduce {ALL_REDUCE_BYTES} of 4" in [task.name for task in tasks]
