"""One thing to report of every kind, for tests that walk all reports."""

from importlib import import_module
from typing import Any

from tests.builders import make_plan, three_results
from tests.profiles import rich_profile
from tests.pure.cost.test_claims import CLAIM, decide
from tests.pure.estimate.test_training import WISH, estimated
from tests.pure.machine.inspections import make_inspection
from tests.pure.reports.comparisons import rich
from tests.pure.reports.test_cost import sheet
from tests.pure.reports.test_field import ranked
from tests.pure.reports.test_microbench import document as microbenchmarks
from tests.pure.reports.test_options import offered
from tests.pure.reports.test_ranking import rankings
from tests.pure.tune.studies import pruned_study
from trnbench.analysis.statistics import Deviation
from trnbench.catalog.models import models
from trnbench.catalog.prices import price_rows, price_rows_by_instance
from trnbench.catalog.published import published_results
from trnbench.compare.noise import GateCost, NoiseFloor
from trnbench.estimate.calibration import Calibration
from trnbench.machine.findings import Finding
from trnbench.prices.base import NoPrice
from trnbench.reports.beside import beside
from trnbench.reports.document import Report
from trnbench.reports.estimate import Estimated
from trnbench.reports.inspection import Diagnosis
from trnbench.reports.models import Listed
from trnbench.reports.prices import history_of
from trnbench.reports.published import publications
from trnbench.reports.ranking import Ranked
from trnbench.reports.runs import ListedRun

HOSTILE = "=1+1|<b>\x1b[31m"
"""A text that would steer a spreadsheet, a page and a terminal."""


def report_of(key: str) -> Report[Any]:
    """Return a report by its key in `REPORTS`."""
    module, _, name = key.partition(":")
    report: Report[Any] = getattr(import_module(f"trnbench.reports.{module}"), name or "REPORT")
    return report


def noise_floors() -> list[NoiseFloor]:
    return [
        NoiseFloor(
            name=HOSTILE, device="a processor", launches=12, doubtful=1,
            middle_tokens_per_second=20_000.0,
            between=Deviation(value=0.01, low=0.007, high=0.016), within=0.004,
            ratio=1.001, ratio_low=0.99, ratio_high=1.01, p_value=0.8,
            gates=(GateCost(change=0.02, apart=6, apart_most=None, in_turns=3),),
        )
    ]  # fmt: skip


def listed_runs() -> list[ListedRun]:
    return [
        ListedRun(
            path="results/b", started_at="2026-08-02T10:00:00+00:00", suites=[HOSTILE],
            devices=["AMD EPYC, 2 threads"], instance="m7a.large", cases=3, state="finished",
            standings=["sound", "doubtful"],
        ),
        ListedRun(
            path=HOSTILE, started_at=None, suites=[], devices=[], instance=None, cases=1,
            state="unknown", standings=[],
        ),
    ]  # fmt: skip


SAMPLES: dict[str, Any] = {
    "results": three_results(),
    "offers": offered(),
    "beside": beside(three_results()),
    "runs": listed_runs(),
    "ranking": Ranked(rankings(), "usd_per_million_tokens"),
    "field": ranked(),
    "estimate": Estimated(
        HOSTILE,
        WISH,
        [estimated(), estimated(1, known=Calibration())],
        [(HOSTILE, HOSTILE)],
        {HOSTILE: 2},
        HOSTILE,
        is_chosen=True,
        is_curve=False,
    ),
    "published": publications([run for run in published_results() if run.accelerator == "H200"]),
    "claim": decide(CLAIM, H200=(1100, 1500), H100=(1000,)),
    "cost": [(sheet().result, sheet()), (sheet().result, "no price is known")],
    "plans": [make_plan()],
    "microbench": microbenchmarks(is_chip=True),
    "profile": rich_profile(),
    "comparison": rich(),
    "noise": noise_floors(),
    "tuning": pruned_study(HOSTILE),
    "models": Listed(list(models().values()), 4096),
    "prices": price_rows(),
    "prices:LIVE": {"spot": NoPrice(HOSTILE, HOSTILE), "on_demand": three_results()[0].price},
    "prices:HISTORY": history_of("p5.48xlarge", price_rows_by_instance()["p5.48xlarge"], None),
    "inspection": Diagnosis(
        make_inspection(), [Finding("a", "problem", HOSTILE, fix=HOSTILE), Finding("b", "ok", "b")]
    ),
}
