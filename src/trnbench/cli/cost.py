"""`trnbench cost`: what training costs at a result's speed, as a range, and what changes it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from trnbench.cli.groups import cli_option
from trnbench.cli.options import TERMINAL, OutputChoice, Paths, Plots
from trnbench.cli.price_options import PriceChoice
from trnbench.errors import ConfigError, DataError, Problem

if TYPE_CHECKING:
    from trnbench.cost.training import TrainingJob

EXAMPLES = ("trnbench cost results --tokens 1T --usd-per-hour 2.50",)
"""For `--help`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """The training whose cost is estimated."""

    PANEL: ClassVar[str] = "Job"

    tokens: str = cli_option("1T", metavar="COUNT", help="Tokens to train: 1T, 300B, 15e12.")
    failures_per_day: float | None = cli_option(
        None,
        min=0,
        metavar="RATE",
        help="Failures of one instance in a day; by default the published rate of Llama 3's "
        "training on H100s.",
    )
    restart: str = cli_option(
        "15min", metavar="TIME", help="From a failure to the first step after it."
    )
    checkpoint: str = cli_option(
        "60s", metavar="TIME", help="How long a checkpoint stops the training."
    )
    checkpoint_every: str | None = cli_option(
        None, metavar="TIME", help="Between checkpoints; by default the best interval."
    )
    start: str = cli_option(
        "0s", metavar="TIME", help="From the first paid second to the first step."
    )
    compilation: str | None = cli_option(
        None,
        "--compile",
        metavar="TIME",
        help="The first compilation; by default the time of the result's first step.",
    )
    evaluation: str = cli_option("0s", metavar="TIME", help="All evaluations of the job together.")
    idle: str = cli_option("0s", metavar="TIME", help="Paid but unused time in the whole job.")

    def job(self) -> "TrainingJob":
        """Return the job, without the compilation that a result's first step tells."""
        from trnbench.cost.training import Reliability, TrainingJob
        from trnbench.units import read_count, read_seconds

        checkpoint = _read("--checkpoint", self.checkpoint, read_seconds)
        interval = None
        if self.checkpoint_every is not None:
            interval = _read("--checkpoint-every", self.checkpoint_every, read_seconds)
        _require_interval(interval, checkpoint)
        failures = self.failures_per_day
        compilation = "0s" if self.compilation is None else self.compilation
        return TrainingJob(
            tokens=_read("--tokens", self.tokens, read_count),
            reliability=Reliability(
                **({} if failures is None else {"failures_per_instance_day": failures}),
                restart_seconds=_read("--restart", self.restart, read_seconds),
                checkpoint_seconds=checkpoint,
                checkpoint_interval_seconds=interval,
            ),
            start_seconds=_read("--start", self.start, read_seconds),
            compile_seconds=_read("--compile", compilation, read_seconds),
            evaluation_seconds=_read("--evaluation", self.evaluation, read_seconds),
            idle_seconds=_read("--idle", self.idle, read_seconds),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteOptions:
    """The data centre, for its emissions; None takes the published figures of the cloud."""

    PANEL: ClassVar[str] = "Site"

    pue: float | None = cli_option(
        None,
        min=1,
        metavar="RATIO",
        help="The data centre's power divided by its machines' power; by default the cloud's "
        "average.",
    )
    grid: float | None = cli_option(
        None, min=0, metavar="GRAMS", help="gCO2e of a kWh; by default the region's."
    )


def cost(
    *,
    paths: Paths = None,
    price: PriceChoice,
    training: JobOptions,
    site: SiteOptions,
    form: OutputChoice,
    plots: Plots = None,
) -> None:
    """Estimate what training at a result's speed costs, as a range, and what changes it."""
    from trnbench.analysis.energy import find_site
    from trnbench.cli.output import prepare_plots, show
    from trnbench.cli.reprice import PriceFinder
    from trnbench.cost.training import make_cost_sheet
    from trnbench.reports.cost import REPORT
    from trnbench.run.results import load_results

    prepare_plots(plots)
    job = training.job()
    finder = PriceFinder.of(price)
    problems: list[Problem] = []
    sheets = []
    for result in finder.reprice_each(load_results(paths, problems)):
        if training.compilation is None:
            job = replace(job, compile_seconds=result.timing.first_step_seconds or 0.0)
        where = find_site(result.price, site.pue, site.grid)
        sheets.append((result, make_cost_sheet(result, job, where)))
    if sheets or form.name != TERMINAL:
        show(REPORT, sheets, form.name, form.output, plots=plots)
    if problems:
        raise DataError.of(problems)


def _read(option: str, text: str, read: Callable[[str], float]) -> float:
    try:
        return read(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text}: {error}", hint=f"see `{option}` in --help") from None


def _require_interval(interval: float | None, blocked: float) -> None:
    if interval is None and blocked == 0:
        raise ConfigError(
            "--checkpoint 0s: checkpoints that take no time have no best interval",
            hint="set one with --checkpoint-every",
        )
    if interval == 0:
        raise ConfigError("--checkpoint-every 0s: is not an interval", hint="write e.g. 1h")
