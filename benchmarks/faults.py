"""Promise: whatever breaks, nothing that was reported is lost, and the same command completes.

Each fault is made at a random place of a suite of three cases, by a seed: of the processes, of the
disk, of files, clock, memory, ports and output. Then five things must hold, which a reader that
shares no code with trnbench looks at: every case that stderr called measured is on disk, whole, and
keeps its figure; no process is left, by a mark in its environment; how the case under way ended is
recorded as documented; `trnbench report` reads the folder with a documented exit code; the same
command completes the plan, and measures nothing again that was whole.

Most faults use workers that speak the protocol and train nothing. `--real` takes torch.

    python benchmarks/faults.py --seed 1 --count 500 [--log faults.jsonl] [--only "full disk"]

A log that is there is continued: faults that it has are not made again. Processes beside each other
take `--part`, and one log.
"""

import argparse
import gc
import io
import json
import os
import platform
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # this process forks
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the scripted worker of the tests

from benchmarks.faulting import kinds, real
from benchmarks.faulting.scene import Scene, Skipped, Verdict, judge
from trnbench.cli.main import main as trnbench

KINDS = {**kinds.KINDS, **real.KINDS}


def main() -> None:
    """Make the faults that the log does not have, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--log", type=Path)
    parser.add_argument(
        "--part", default="0/1", help="of the faults, as 0/4, 1/4: processes side by side"
    )
    parser.add_argument("--only", default="", help="kinds whose name has this text")
    parser.add_argument("--real", action="store_true", help="workers that train with torch")
    parser.add_argument("--keep", action="store_true", help="keep the folders of violations")
    arguments = parser.parse_args()
    part, parts = map(int, arguments.part.split("/"))
    log: Path = arguments.log or Path(f"faults-{arguments.seed}.jsonl")
    done = read_log(log)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, log.open("a") as lines:
        Path(folder).chmod(0o755)
        load_package(Path(folder))
        for number in range(part, arguments.count, parts):
            kind = kind_of(arguments.seed, number, arguments.only, is_real=arguments.real)
            if number in done:
                continue
            verdict = make_fault(Path(folder), arguments.seed, number, kind, keep=arguments.keep)
            done[number] = verdict
            lines.write(json.dumps({"number": number, **asdict(verdict)}) + "\n")
            lines.flush()
            for violation in verdict.violations:
                print(f"{number} {kind}, {verdict.what}: {violation}", flush=True)
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.platform()}, Python "
          f"{platform.python_version()}, seed {arguments.seed}")  # fmt: skip
    print_table(done.values())


def read_log(path: Path) -> dict[int, Verdict]:
    """Return the faults that were made before, by number."""
    done = {}
    if path.exists():
        for line in path.read_text().splitlines():
            fields = json.loads(line)
            number = fields.pop("number")
            done[number] = Verdict(**fields)
    return done


def kind_of(seed: int, number: int, only: str, *, is_real: bool) -> str:
    """Return the kind of a fault: each comes as often as its weight says, in a shuffled order."""
    deck = [
        name
        for name, (_, weight) in (real if is_real else kinds).KINDS.items()
        if only in name
        for _ in range(weight)
    ]
    turn, place = divmod(number, len(deck))
    random.Random(f"{seed} deck {turn}").shuffle(deck)
    return deck[place]


def load_package(folder: Path) -> None:
    """Run the suite and its report in this process: forks find loaded what the two load."""
    scene = Scene(folder / "loading", "loading", random.Random(0))
    scene.launches = scene.ranks = 1
    for command in (scene.command(), ["report", str(scene.run), "--format", "json"]):
        said = io.StringIO()
        try:
            with redirect_stdout(said), redirect_stderr(said), patch("sys.argv", ["", *command]):
                trnbench()
        except SystemExit as end:
            if end.code:
                raise SystemExit(
                    f"the suite does not run without a fault: {said.getvalue()}"
                ) from None
    scene.close()
    gc.freeze()


def make_fault(folder: Path, seed: int, number: int, kind: str, *, keep: bool) -> Verdict:
    """Make one fault in a folder of its own, and judge what came of it."""
    began = time.monotonic()
    chance = random.Random(f"{seed} {number}")
    scene = Scene(folder / f"{number}", f"{os.getpid()}-{number}", chance)
    verdict = Verdict(kind, "")
    try:
        shot = KINDS[kind][0](scene)
        verdict.what = scene.what
        judge(scene, shot, verdict)
    except Skipped as why:
        verdict.skipped = str(why)
    except Exception:  # noqa: BLE001 - a fault that this program cannot judge is a violation
        verdict.note("is_recorded", traceback.format_exc())
    verdict.seconds = round(time.monotonic() - began, 2)
    if keep and verdict.violations:
        print(f"kept: {scene.keep()}")
    else:
        scene.close()
    return verdict


def print_table(verdicts: Iterable[Verdict]) -> None:
    """Print a line for each kind, and one for all."""
    by_kind: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_kind.setdefault(verdict.kind, []).append(verdict)
    head = ("faults", "recorded", "lost", "left", "reported", "completed", "skipped")
    print(f"{'':<50}" + "".join(f"{each:>10}" for each in head))
    every = [each for kind in KINDS for each in by_kind.get(kind, [])]
    for name, own in [*((kind, by_kind.get(kind, [])) for kind in KINDS), ("all", every)]:
        made = [each for each in own if each.skipped is None]
        counts = (
            len(made),
            sum(each.is_recorded for each in made),
            sum(each.has_lost for each in made),
            sum(each.has_left for each in made),
            sum(each.is_reported for each in made),
            sum(each.is_completed for each in made),
            len(own) - len(made),
        )
        if own:
            print(f"{name:<50}" + "".join(f"{count:>10}" for count in counts))
    for why in sorted({f"{each.kind}: {each.skipped}" for each in every if each.skipped}):
        print(f"skipped: {why}")


if __name__ == "__main__":
    main()
