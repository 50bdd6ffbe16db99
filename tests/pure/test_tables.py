"""Every row of the tables of backends and families, and made-up ones: plan, check and report."""

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import make_measurement, make_result
from tests.pure.run.plans import TODAY, make_case, make_machine
from trnbench.catalog.backends import BACKENDS, Backend, Meter
from trnbench.catalog.models import models
from trnbench.config.device import DeviceConfig
from trnbench.config.load import CaseConfig
from trnbench.machine.describe import Devices
from trnbench.model.families import FAMILIES, Family
from trnbench.plan.make import make_plan
from trnbench.protocol.records import FoundDevice
from trnbench.reports import render, text_formats
from trnbench.reports.document import Page
from trnbench.reports.plans import REPORT as PLANS
from trnbench.reports.results import REPORT as RESULTS
from trnbench.schema.measurement import Reading
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result

DEVICE_NAMES = {"cuda": "NVIDIA H100 80GB HBM3", "neuron": "trn2", "xla": "trn1"}
MADE_UP_SIZES = (
    "{family: gpt2, layers: 1, hidden_size: 32, heads: 2, intermediate_size: 48, "
    "vocabulary_size: 128, max_positions: 64}"
)


def case_of(family: str, backend: str) -> CaseConfig:
    tiny = models()[f"tiny-{family}"].shape
    tokens = tiny.max_positions if tiny.image is not None else 64
    return make_case(
        {
            "model": f"tiny-{family}",
            "device": backend,
            "workload.sequence_length": str(tokens),
            "price.usd_per_hour": "3.6",
        }
    )


def planned(case: CaseConfig, backend: str) -> Plan:
    name = DEVICE_NAMES.get(backend, backend)
    found = FoundDevice(backend=backend, device_name=name, device_count=1, proven=False)
    return make_plan(
        case, machine=make_machine(), devices=Devices((found,), {"torch": "2.13.0"}), today=TODAY
    )


def result_of(plan: Plan, **changes: Any) -> Result:
    """Analyze the case, and print it and its plan in every format."""
    result = make_result(plan, make_measurement(plan, **changes))
    for format_ in text_formats():
        assert plan.model.name in render(RESULTS, [result], format_, Page(width=200))
        assert plan.model.name in render(PLANS, [plan], format_, Page(width=200))
    return result


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_family_is_planned_judged_and_reported_on_every_backend(
    backend: str, family: str
) -> None:
    row, kind = BACKENDS[backend], FAMILIES[family]
    plan = planned(case_of(family, backend), backend)
    assert plan.order.measure_ceiling == row.measures_ceiling
    assert (plan.order.execution == "compile") == (row.compiling in ("always", "where_it_pays"))
    assert (plan.workload.step.expert_capacity is not None) == (
        row.has_static_shapes and kind.needs == "experts"
    )
    assert plan.order.gate is not None
    assert plan.order.gate.shape is not None
    assert plan.order.gate.shape.family == family
    assert plan.order.stream.alphabet_size == kind.alphabet_size
    result = result_of(plan)
    checks = {check.name: check.verdict for check in result.checks}
    assert checks["parameters"] == checks["parity"] == "sound"
    assert result.energy is not None
    assert (row.unmetered or row.name) in (result.energy.reason or "") or row.meter is not None


def test_a_row_made_up_for_each_table_is_taken_without_another_edit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    acme = Backend(
        name="acme",
        has_static_shapes=True,
        compiling="always",
        measures_ceiling=True,
        meter=Meter("acme-smi", "the board", is_of_device=True),
    )
    twin: Family = replace(
        FAMILIES["gpt2"], name="twin", task="masked_token", parity_slack=2.0, alphabet_size=32
    )
    monkeypatch.setitem(BACKENDS, "acme", acme)
    monkeypatch.setitem(FAMILIES, "twin", twin)
    case = make_case({"model": MADE_UP_SIZES, "workload.sequence_length": "64"})
    model = case.config.model
    assert not isinstance(model, str)
    config = case.config.model_copy(
        update={
            "model": model.model_copy(update={"family": "twin"}),
            "device": DeviceConfig.model_construct(kind="acme"),
        }
    )
    plan = planned(replace(case, config=config), "acme")
    assert (plan.order.backend, plan.model.family) == ("acme", "twin")
    assert (plan.order.execution, plan.order.measure_ceiling) == ("compile", True)
    assert plan.order.stream.alphabet_size == 32
    readings = [
        Reading(
            at_seconds=at, source="acme-smi", device=0, values={"energy_joules": 200 * at},
            is_valid=True, note=None, flags=[],
        )
        for at in (0.0, 2.0, 4.0, 6.0)
    ]  # fmt: skip
    result = result_of(plan, readings=readings)
    assert result.energy is not None
    assert result.energy.scope == "the board"
    assert result.energy.mean_power_watts == pytest.approx(200)
    mine, usual = result.learning.entropy, make_result().learning.entropy
    assert mine is not None
    assert usual is not None
    assert mine < usual  # of masked tokens, of 32
