"""Studies whose trials are results of scripted steps."""

from collections.abc import Mapping, Sequence

from tests.builders import make_blocks, make_measurement, make_result
from tests.configs import parse_config
from tests.pure.run.plans import CPU, SUITE, TODAY, make_machine
from trnbench.machine.describe import Devices
from trnbench.plan.make import plan_all
from trnbench.schema.result import Result
from trnbench.tune.space import MICRO, Space, Way, make_space
from trnbench.tune.study import Study, Trial

ONE_KEY = {
    "workload.execution": "eager",
    "workload.activation_checkpointing": "none",
    "price.usd_per_hour": "3.6",
}
"""Leaves the size of a pass open: 8, 4, 2 or 1."""


def space_of_sizes(overrides: Mapping[str, str] | None = None) -> Space:
    cases = parse_config(SUITE, "suite.yaml", {**ONE_KEY, **(overrides or {})})
    devices = Devices((CPU,), {"torch": "2.13.0"})
    return make_space(
        cases,
        lambda case: plan_all([case], machine=make_machine(), devices=devices, today=TODAY)[0],
    )


def way_of(space: Space, micro: int) -> Way:
    return next(way for way in space.ways if way.settings[MICRO] == micro)


def result_of(way: Way, seconds: float | None, **outcome: str) -> Result:
    """Return a way's result with steps of about these seconds; None: out of memory."""
    if seconds is None:
        measurement = make_measurement(way.plan, blocks=[], status="out_of_memory", memory=None)
    else:
        times = [seconds * (1 + 0.01 * (number % 3)) for number in range(60)]
        measurement = make_measurement(way.plan, blocks=make_blocks(times))
    result = make_result(way.plan, measurement, trnbench_version="0.1.0")
    return result.model_copy(update={"outcome": result.outcome.model_copy(update=outcome)})


def trials_of(space: Space, seconds: Mapping[int, float | None]) -> list[Trial]:
    return [
        Trial(number=number, way=way_of(space, micro), result=result_of(way_of(space, micro), each))
        for number, (micro, each) in enumerate(seconds.items(), start=1)
    ]


def study_of(seconds: Mapping[int, float | None], ended: str = "all 4 ways are tried") -> Study:
    space = space_of_sizes()
    return Study(space=space, trials=trials_of(space, seconds), ended=ended)


def pruned_study(ended: str) -> Study:
    """Return a study with a trial of every kind."""
    study = study_of({8: None, 4: 0.05, 2: 0.06}, ended)
    slow = way_of(study.space, 1)
    pruned = result_of(slow, 0.2, reason="pruned: 8 samples in 3 s show that it is not the best")
    trials: Sequence[Trial] = [*study.trials, Trial(number=4, way=slow, result=pruned)]
    return Study(space=study.space, trials=trials, ended=ended, left_out=1)
