"""How soon `trnbench tune` finds a good way, against a full grid and random search.

    python -m benchmarks.tuning [--optuna]

Replays, nothing is trained. One space is measured: 90 ways of a small step on one thread of a CPU
(`benchmarks/common/tuning_grid.py`), of which a search sees the mean of three of the six timed
steps of a way, drawn anew for each seed, and is judged by the median of all six. The others are
synthetic: the estimate's step times of a layout search on 8 GPUs, each times an error of the size
that the estimate is tested to have, drawn for each value of each setting and for each way, and with
memory that runs out where the prediction, in error by 5 %, exceeds the room.

Printed is the regret: how much slower the best way found is than the best there is, after so many
trials, as the mean over seeds with its 95 % interval. `--optuna` adds Optuna's TPE on the same
list of ways, where it is installed.
"""

import argparse
import csv
import math
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.common.tuning_grid import CONFIG, WAYS
from tests.configs import parse_config
from tests.pure.run.plans import CPU, H100, make_machine
from trnbench.errors import ConfigError
from trnbench.machine.describe import Devices
from trnbench.plan.make import plan_all
from trnbench.protocol.records import FoundDevice
from trnbench.tune.search import Search
from trnbench.tune.space import RECOMPUTE, Space, make_space

SERIES = Path(__file__).parent / "series" / "tuning-cpu.csv"
AFTER = (5, 10, 20)
SEEDS = 100
OPTUNA_SEEDS, OPTUNA_FIRST = 20, 5
"""It is given the planner's first ways too: without them it begins by chance."""
SETTING_ERROR, WAY_ERROR, MEMORY_ERROR = 0.15, 0.05, 0.05
"""Relative, of the synthetic spaces: the estimate's tested median error (docs/estimate.md), what
is left between ways that share their settings, and the memory model's (docs/metrics.md)."""

LARGE = """\
model: {model}
workload: {{sequence_length: {length}, global_batch_size: {batch}, precision: bf16}}
"""
SYNTHETIC = (("llama3-8b", 8192, 128), ("llama3.2-1b", 4096, 256), ("qwen3-0.6b", 4096, 256))


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A space whose answers are known, for one seed."""

    space: Space
    seen: Sequence[float | None]
    """Seconds that a trial of each way shows; None: out of memory."""
    true: Sequence[float | None]
    """Seconds by which a way is judged."""


Searcher = Callable[[Replay, int, int], list[int]]
"""Returns the places of so many ways in the order in which they are tried, for a seed."""


# --- the spaces -----------------------------------------------------------------------------------


def space_of(text: str, found: FoundDevice) -> Space:
    """Return the space that `trnbench tune` would search."""
    today = datetime.now(UTC).date()
    devices, machine = Devices((found,), {}), make_machine(has_chips=True)

    def make(case: Any) -> Any:
        return plan_all([case], machine=machine, devices=devices, today=today)[0]

    return make_space(parse_config(text, "replay.yaml"), make)


def measured() -> Callable[[int], Replay]:
    """Return the measured space's replays by seed."""
    sweep = ", ".join(f"{key}: [{', '.join(values)}]" for key, values in WAYS.items())
    space = space_of(f"{CONFIG}sweep: {{workload.execution: [eager], {sweep}}}\n", CPU)
    with SERIES.open(encoding="utf-8") as file:
        rows = {
            tuple(row[key] for key in WAYS): [float(each) for each in row["seconds"].split()]
            for row in csv.DictReader(file)
        }
    steps = [rows[tuple(str(way.settings[key]) for key in WAYS)] for way in space.ways]

    def replay(seed: int) -> Replay:
        draw = random.Random(seed)
        seen = [statistics.mean(draw.sample(each, 3)) for each in steps]
        return Replay(space=space, seen=seen, true=[statistics.median(each) for each in steps])

    return replay


def synthetic(model: str, length: int, batch: int) -> Callable[[int], Replay]:
    """Return replays by seed of a layout search that nothing has measured."""
    space = space_of(LARGE.format(model=model, length=length, batch=batch), H100)
    room = space.ways[0].plan.device.memory_bytes or math.inf

    def replay(seed: int) -> Replay:
        draw = random.Random(seed)
        errors: dict[tuple[str, str], float] = {}
        true: list[float | None] = []
        for way in space.ways:
            error = draw.gauss(0, WAY_ERROR)
            for key in space.keys:
                of = (key, str(way.settings[key]))
                error += errors.setdefault(of, draw.gauss(0, SETTING_ERROR / 2))
            needed = way.needs_memory * math.exp(draw.gauss(0, MEMORY_ERROR))
            true.append(None if needed > room else way.expected_seconds * math.exp(error))
        return Replay(space=space, seen=true, true=true)

    return replay


# --- the searchers --------------------------------------------------------------------------------


def by_tune(replay: Replay, trials: int, seed: int) -> list[int]:
    """Search as `trnbench tune` does."""
    ways, keys = replay.space.ways, replay.space.keys
    search = Search(
        [{key: way.settings[key] for key in keys} for way in ways],
        [way.expected_seconds for way in ways],
    )
    known: dict[int, float | None] = {}
    while len(known) < trials:
        place = search.next(known, frozenset(_hopeless(replay, known)))
        if place is None:
            break
        known[place] = replay.seen[place]
    return [*known]


def _hopeless(replay: Replay, known: Mapping[int, float | None]) -> Iterator[int]:
    """Yield ways that `tune` leaves out, as `tune/study.py` does from results."""
    from trnbench.tune.space import MICRO

    ways = replay.space.ways

    def rest(place: int) -> dict[str, str]:
        settings = ways[place].settings
        return {key: str(settings[key]) for key in settings if key not in (MICRO, RECOMPUTE)}

    failed = [place for place, seconds in known.items() if seconds is None]
    for place, way in enumerate(ways):
        if any(
            way.needs_memory >= ways[other].needs_memory > 0 and rest(place) == rest(other)
            for other in failed
        ):
            yield place


def by_planner(replay: Replay, trials: int, seed: int) -> list[int]:
    """Follow the planner's order alone."""
    return [*range(min(trials, len(replay.space.ways)))]


def by_grid(replay: Replay, trials: int, seed: int) -> list[int]:
    """Follow nested loops over the values, in the order in which a person writes them."""
    ways, keys = replay.space.ways, replay.space.keys

    def place_of(value: Any) -> tuple[float, str]:
        return (float(value), "") if isinstance(value, int) else (0.0, str(value))

    order = sorted(
        range(len(ways)), key=lambda n: [place_of(ways[n].settings[key]) for key in keys]
    )
    return order[:trials]


def by_chance(replay: Replay, trials: int, seed: int) -> list[int]:
    """Draw ways without repeating any."""
    count = len(replay.space.ways)
    return random.Random(seed).sample(range(count), min(trials, count))


def by_optuna(replay: Replay, trials: int, seed: int) -> list[int]:
    """Ask Optuna's TPE, over the same settings; a way that is none, or was tried, is told again."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ways, keys = replay.space.ways, replay.space.keys
    choices = {key: sorted({str(way.settings[key]) for way in ways}) for key in keys}
    places = {tuple(str(w.settings[key]) for key in keys): n for n, w in enumerate(ways)}
    worst = max(each for each in replay.seen if each is not None)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(
            seed=seed, multivariate=True, warn_independent_sampling=False
        )
    )
    for way in ways[:OPTUNA_FIRST]:
        study.enqueue_trial({key: str(way.settings[key]) for key in keys})
    tried: dict[int, None] = {}
    for _ in range(50 * trials):
        if len(tried) >= trials:
            break
        trial = study.ask()
        place = places.get(tuple(trial.suggest_categorical(key, choices[key]) for key in keys))
        seconds = None if place is None else replay.seen[place]
        study.tell(trial, math.log(2 * worst if seconds is None else seconds))
        if place is not None:
            tried[place] = None
    return [*tried]


# --- what is printed ------------------------------------------------------------------------------


def regret(replay: Replay, tried: Sequence[int]) -> float:
    """Return how much slower the way is that a search would take than the best there is."""
    best = min(each for each in replay.true if each is not None)
    found = [(replay.seen[n], replay.true[n]) for n in tried]
    usable = [(seen, true) for seen, true in found if seen is not None and true is not None]
    if not usable:
        return math.inf
    return min(usable)[1] / best - 1


def say(regrets: Sequence[float]) -> str:
    """Write mean and 95 % interval over seeds; how many found nothing that fits, where some did."""
    finite = [each for each in regrets if math.isfinite(each)]
    lost = len(regrets) - len(finite)
    if not finite:
        return "nothing fits"
    half = 1.96 * statistics.pstdev(finite) / math.sqrt(len(finite))
    said = f"{statistics.mean(finite):6.1%} ± {half:.1%}"
    return f"{said} ({lost} of {len(regrets)} found none)" if lost else said


def main() -> None:
    """Print the regret of each search on each space."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--optuna", action="store_true")
    asked = parser.parse_args()
    searchers: dict[str, tuple[Searcher, int]] = {
        "tune": (by_tune, SEEDS),
        "the planner's order alone": (by_planner, SEEDS),
        "grid, in order": (by_grid, SEEDS),
        "random": (by_chance, SEEDS),
    }
    if asked.optuna:
        searchers["planner's 5, Optuna's TPE"] = (by_optuna, OPTUNA_SEEDS)
    spaces = {"measured: tiny-llama on one thread of a CPU": measured()}
    for model, length, batch in SYNTHETIC:
        try:
            spaces[f"synthetic: {model}, {batch} x {length}, 8 H100"] = synthetic(
                model, length, batch
            )
        except ConfigError as error:
            print(f"{model}: {error}")
    for name, replay_of in spaces.items():
        replays = [replay_of(seed) for seed in range(SEEDS)]
        count = len(replays[0].space.ways)
        print(f"\n{name}: {count} ways; regret after {', '.join(map(str, AFTER))} trials")
        for searcher, (search, seeds) in searchers.items():
            tried = [search(replays[seed], max(AFTER), seed) for seed in range(seeds)]
            cells = [
                say([regret(replays[seed], tried[seed][:after]) for seed in range(seeds)])
                for after in AFTER
            ]
            print(f"  {searcher:<26} " + "   ".join(f"{cell:<16}" for cell in cells))


if __name__ == "__main__":
    main()
