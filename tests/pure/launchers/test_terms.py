"""On how many machines, for how long, for how much: and what does not go together."""

from datetime import date
from decimal import Decimal

import pytest

from tests.configs import parse_config
from tests.pure.run.plans import make_machine
from trnbench.errors import ConfigError
from trnbench.launchers.base import job_name
from trnbench.launchers.terms import nodes_for, terms_of
from trnbench.plan.make import plan_all
from trnbench.schema.plan import Plan

TODAY = date(2026, 11, 20)


def plans(more: str = "", instance: str = "trn2.48xlarge", minutes: int = 30) -> list[Plan]:
    text = (
        "model: llama3-8b\n"
        "device: neuron\n"
        f"measure: {{max_minutes: {minutes}}}\n"
        f"price: {{instance: {instance}, option: capacity_block}}\n{more}"
    )
    cases = parse_config(text, "mine.yaml")
    return plan_all(cases, machine=make_machine(), devices=None, today=TODAY)


def test_a_suite_takes_the_machines_of_its_layout() -> None:
    assert nodes_for(plans(), None, 64) == 1
    two = plans("parallel: {tensor_parallel_size: 4, data_parallel_shard_size: 32}\n")
    assert nodes_for(two, None, 64) == 2
    assert nodes_for(two, 2, 64) == 2
    assert nodes_for([], None, None) == 1
    assert nodes_for([], 3, None) == 3


def test_machines_that_a_case_lacks_or_leaves_without_work_are_refused() -> None:
    two = plans("parallel: {tensor_parallel_size: 4, data_parallel_shard_size: 32}\n")
    with pytest.raises(ConfigError, match=r"--nodes 1: .* takes 128 devices, which are 2 of these"):
        nodes_for(two, 1, 64)
    with pytest.raises(ConfigError, match=r"--nodes 4: .* and 4 have 256") as raised:
        nodes_for(two, 4, 64)
    assert raised.value.problems[0].hint.startswith("use --nodes 2")


def test_the_time_is_that_of_the_cases_and_the_price_that_of_the_time() -> None:
    terms = terms_of(plans(), 2, None, None)
    assert (terms.minutes, terms.nodes) == (40, 2)
    assert terms.rate is not None
    assert terms.most_usd == terms.rate.usd_per_hour * 2 * 40 / 60
    said = terms.say("trn2.48xlarge")
    assert said[0] == "2 x trn2.48xlarge, ended after 40 minutes at the latest"
    assert "$35.7608 an hour for each (capacity_block, us-east-2" in said[1]


def test_dollars_limit_the_time_that_is_not_asked_for() -> None:
    terms = terms_of(plans(), 1, None, 10.0)
    assert (terms.minutes, terms.is_cut) == (16, True)
    assert terms.most_usd is not None
    assert terms.most_usd <= Decimal(10)
    assert not terms_of(plans(), 1, None, 100.0).is_cut


def test_a_time_that_costs_more_than_the_dollars_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--max-usd 10: 60 minutes of 1 x \$35.7608") as raised:
        terms_of(plans(), 1, 60, 10.0)
    assert raised.value.problems[0].hint == "use --time 16min, or more dollars"
    with pytest.raises(ConfigError, match="before a job has had a minute"):
        terms_of(plans(), 64, None, 1.0)


def test_minutes_that_are_paid_after_the_job_are_dollars_too() -> None:
    terms = terms_of(plans(), 1, None, 10.0, idle_minutes=10)
    assert (terms.minutes, terms.is_cut) == (6, True)
    assert terms.most_usd is not None
    assert 9 < terms.most_usd <= Decimal(10)
    assert "an hour, and 10 minutes after the job (" in terms.say("x")[1]
    with pytest.raises(ConfigError, match="before a job has had a minute"):
        terms_of(plans(), 1, None, 6.0, idle_minutes=10)


def test_dollars_need_a_price() -> None:
    unpriced = plans(instance="trn2u.48xlarge")
    assert unpriced[0].price is None
    with pytest.raises(ConfigError, match="--max-usd 5 cannot be kept without a price"):
        terms_of(unpriced, 1, None, 5.0)
    assert "its price is not known" in terms_of(unpriced, 1, None, None).say("x")[1]


def test_a_name_is_one_to_every_engine() -> None:
    name = job_name("Llama 3.1 70B on one p5en.48xlarge — größer!", "1a2b3c")
    assert name == "trnbench-llama-3-1-70b-on-one-p5e-1a2b3c"
    assert len(name) <= 40
    assert job_name("—", "1a2b3c") == "trnbench-suite-1a2b3c"
