"""`trnbench launch`: a suite as a job for Slurm, Kubernetes or SkyPilot, submitted and followed."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trnbench.cli import complete, options, price_options
from trnbench.cli.launch_request import JobOptions, NodeOptions, home_of, request_job
from trnbench.errors import ConfigError, RunError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trnbench.launchers.base import Engine, RunningJob

EXAMPLES = (
    "trnbench launch slurm llama3-8b-trn2.48xlarge --partition trn2 --max-usd 50",
    "trnbench launch kubernetes mine.yaml --instance trn2.48xlarge --image IMAGE --submit",
    "trnbench launch skypilot qwen3-8b --instance trn2.48xlarge --nodes 2 --submit -o results/q",
    "trnbench launch slurm --follow 1234 -o results/q",
)
"""For `--help`."""

EngineName = Annotated[
    str,
    typer.Argument(
        metavar="ENGINE",
        help="slurm, kubernetes or skypilot.",
        autocompletion=complete.engines,
    ),
]
Suite = Annotated[
    str | None,
    typer.Argument(
        metavar="SUITE",
        help="A YAML file, the name of a config that ships with trnbench, or of a model.",
        autocompletion=complete.configs,
        show_default=False,
    ),
]


def launch(
    *,
    engine: EngineName,
    suite: Suite = None,
    output: options.OutputFolder = None,
    job: JobOptions,
    node: NodeOptions,
    case: options.CaseOptions,
    price: price_options.PriceChoice,
) -> None:
    """Write a suite as a job for Slurm, Kubernetes or SkyPilot; with --submit, run it there."""
    from trnbench.launchers import engine_of

    chosen = engine_of(engine)
    place = node.place(chosen)
    if job.follow is not None:
        if suite is not None or job.submit:
            raise ConfigError(
                "--follow: takes the job alone, without SUITE and --submit",
                hint=f"write `trnbench launch {engine} --follow {job.follow} -o FOLDER`",
            )
        home = home_of(output, "job", chosen)
        _follow(chosen, chosen.attach(job.follow, place, home), home, place)
        return
    if suite is None:
        raise ConfigError(
            "SUITE: is missing",
            hint=f"name a config, e.g. `trnbench launch {engine} llama3-8b-trn2.48xlarge`",
        )
    request = request_job(chosen, suite, output, job, node, case, price)
    text = chosen.write(request)
    for line in request.title:
        sys.stderr.write(f"{line}\n")
    if job.write is not None or not job.submit:
        from trnbench.cli.output import write

        write(text, job.write)
    if job.submit:
        _follow(chosen, chosen.submit(request, text), request.output, place)


# --- the job that runs ----------------------------------------------------------------------------


def _follow(engine: "Engine", job: "RunningJob", home: Path, place: "Mapping[str, str]") -> None:
    """Follow a job to its end, bring its results home, and exit as it did."""
    from trnbench.launchers.follow import follow
    from trnbench.run.watch import Interruption, noted_signals

    def wait(interruption: Interruption, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while interruption.signal is None and time.monotonic() < end:
            time.sleep(min(0.1, seconds))
        return interruption.signal is None

    _tell(f"job {job.identifier}: submitted; to end it: {job.end_command}")
    try:
        with noted_signals() as interruption:
            state = follow(job, tell=_tell, wait=lambda seconds: wait(interruption, seconds))
        if state is None:
            _tell(f"{interruption.reason}: job {job.identifier} goes on running, and is paid for")
            _tell(f"to end it: {job.end_command}")
            chosen = [f"--{k} {v}" for k, v in place.items() if v != engine.options.get(k)]
            words = ["--follow", job.identifier, *chosen, "-o", str(home)]
            _tell(f"to follow it: trnbench launch {engine.name} {' '.join(words)}")
            raise typer.Exit(128 + (interruption.signal or 0))
        why_not = job.fetch(home)
    finally:
        job.close()
    if why_not is None and not (home / "run.json").is_file():
        why_not = f"{home} has no run.json"
    if why_not is None:
        _tell(f"results: {home}")
        _tell(f"next: trnbench report {home}")
    if job.clean_command is not None:
        _tell(f"to remove what is left of the job: {job.clean_command}")
    if state.exit_code is None:
        raise RunError(
            f"job {job.identifier}: {state.says}",
            hint="what it had measured is kept" if why_not is None else f"no results: {why_not}",
        )
    if state.exit_code:
        _tell(f"job {job.identifier}: `trnbench run` ended with code {state.exit_code}")
        raise typer.Exit(state.exit_code)
    if why_not is not None:
        raise RunError(
            f"job {job.identifier}: its results did not come: {why_not}", hint="see above"
        )


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
