"""The best way as a config of its own, with every searched key written."""

import yaml

from trnbench.tune.space import Space
from trnbench.tune.study import Trial
from trnbench.units import say_seconds


def config_of(space: Space, trial: Trial) -> str:
    """Return a way as YAML: what the config says, with the batch and every searched key written."""
    config = trial.way.case.config
    data = config.model_dump(mode="json", exclude_defaults=True, exclude={"sweep"})
    seconds = trial.seconds
    took = "" if seconds is None else f": {say_seconds(seconds)} a step"
    head = (
        f"# by trnbench tune on {trial.result.started_at[:10]}, trial {trial.number} of "
        f"{len(space.ways)} ways{took}\n"
    )
    return head + yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
