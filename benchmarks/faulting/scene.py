"""One fault: its folder, its suite, the command that meets it, and what must hold afterwards."""

import contextlib
import json
import random
import shutil
import subprocess
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.faulting import reader
from benchmarks.faulting.commands import END_SECONDS, Ended, Started, Way, left_after, start
from tests.fake_python import ActAt, fake_python

CASES = 2

CONFIG = """
name: faults
model: tiny-llama
workload: {{sequence_length: 64, learning_rate: 0.003, threads: 1}}
parallel: {{data_parallel_replicate_size: {ranks}}}
device: cpu
sweep: {{workload.global_batch_size: [2, 4]}}
measure: {{relative_precision: 0.5, min_seconds: 0, min_samples: {least_samples},
           max_samples: {samples}, launches: {launches}, hang_seconds: {hang_seconds},
           gate: false, ceiling: false,
           telemetry: {telemetry}}}
"""


class Skipped(Exception):  # noqa: N818 - nothing failed: this machine cannot have the fault
    """Why a fault cannot be made here."""


@dataclass(slots=True, kw_only=True)
class Shot:
    """What a fault did to a command, and what is documented for it."""

    ended: Ended
    codes: Collection[int]
    """The documented exit codes of the command."""
    statuses: Collection[str | None] = ()
    """How the case that was under way may be recorded, where the parent lived to record it; None:
    its records end without an outcome, and reports call it cut off."""
    damaged: Collection[str] = ()
    """Ids of the cases whose files were damaged from outside: they may have to be measured again,
    but for `still_known`."""
    still_known: Collection[str] = ()
    """Of the damaged cases, those whose figure can still be derived, and must be kept."""
    acknowledged: set[int] | None = None
    """Cases that were reported as measured; None: as stderr says."""
    repair: Callable[[], None] | None = None
    """What a person does before the command is called again: free the disk, mount it."""
    has_lost_folder: bool = False
    """The folder itself was taken away: nothing in it can be kept."""
    keeps_unsynced: bool = True
    """Whether all records of a case under way must be kept: the last seconds are not synced."""


@dataclass(slots=True)
class Verdict:
    """What was found of one fault."""

    kind: str
    what: str
    """The fault, in words that name its random parts."""
    is_recorded: bool = True
    has_lost: bool = False
    has_left: bool = False
    is_completed: bool = True
    is_reported: bool = True
    violations: list[str] = field(default_factory=list)
    skipped: str | None = None
    seconds: float = 0.0

    def note(self, aspect: str, what: str) -> None:
        """Keep a violation of one of the invariants."""
        setattr(self, aspect, aspect.startswith("has_"))
        self.violations.append(what)


class Scene:
    """A folder of its own, in which one fault is made."""

    def __init__(self, folder: Path, mark: str, chance: random.Random) -> None:
        self.folder, self.mark, self.chance = folder, mark, chance
        folder.mkdir(parents=True)
        self.results = folder / "results"
        self.run = self.results / "run"
        self.launches = 1 if chance.random() < 0.7 else 2
        self.ranks = 1 if chance.random() < 0.7 else 2
        self.at_launch = chance.randint(1, CASES * self.launches)
        self.at_step = chance.randint(0, 22)
        self.hang_seconds, self.end_seconds = 20.0, END_SECONDS
        self.has_telemetry = chance.random() < 0.2
        self.least_samples, self.samples = 20, 30
        self.python = ""
        self.what = ""
        """The fault, in words that name its random parts."""
        self.options: list[str] = []
        self.way = Way()
        """Of the command's first call; the second one is called plainly."""
        self.again = Way()
        self.closing = contextlib.ExitStack()
        """What is left when the fault was judged."""

    # --- what kinds of faults are made of -------------------------------------------------------

    def act(self, code: str, at: ActAt = "step", **more: Any) -> None:
        """Have a rank run Python once, at a random step of a random launch."""
        place = f" {self.at_step} of launch {self.at_launch}" if at == "step" else ""
        self.what = f"at {at}{place} of {self.ranks} ranks: {code.strip()[:90]}"
        self.python = fake_python(
            self.folder, act=code, act_at=at, at_launch=self.at_launch, at_step=self.at_step,
            at_rank=self.chance.randrange(self.ranks), **more,
        )  # fmt: skip

    def command(self) -> list[str]:
        """Return the one command of this fault, called before and after."""
        if not self.python:
            self.python = fake_python(self.folder)
        suite = self.folder / "suite.yaml"
        suite.write_text(
            CONFIG.format(ranks=self.ranks, launches=self.launches, samples=self.samples,
                least_samples=self.least_samples,
                          hang_seconds=self.hang_seconds,
                          telemetry=str(self.has_telemetry).lower())
        )  # fmt: skip
        return ["run", str(suite), "-o", str(self.run), "--python", self.python, *self.options]

    def start(self, way: Way | None = None) -> Started:
        """Start the command."""
        return start(self.command(), self.folder, self.mark, way or self.way)

    def call(self, way: Way | None = None) -> Ended:
        """Call the command, and wait for its end."""
        return self.start(way).wait(self.end_seconds)

    def mount(self, size: str = "900k") -> None:
        """Have the results lie on a small disk of their own."""
        self.results.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(self.results)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Skipped(f"a small disk cannot be mounted: {done.stderr.strip()}")
        self.closing.callback(unmount, self.results)

    def wait_for_none(self) -> None:
        """Wait until the first call's processes are gone."""
        left_after(self.mark)

    def keep(self) -> Path:
        """Leave the folder for a person to look at, and return a copy's place."""
        place = Path(f"/tmp/kept-{self.mark}")
        shutil.copytree(self.folder, place)
        self.close()
        return place

    def close(self) -> None:
        """Unmount what was mounted, and delete the folder."""
        self.closing.close()
        shutil.rmtree(self.folder)

    # --- what must hold -------------------------------------------------------------------------

    def report(self) -> tuple[Ended, list[dict[str, Any]]]:
        """Call `trnbench report`; return how it ended and the results in it."""
        ended = start(
            ["report", self.run, "--format", "json"], self.folder, self.mark, Way()
        ).wait()
        try:
            return ended, json.loads(ended.out)["results"]
        except (ValueError, KeyError):
            return ended, []


def unmount(place: Path) -> None:
    """Take a disk away, whatever still holds a file of it."""
    subprocess.run(["umount", "-l", str(place)], check=True)


def judge(scene: Scene, shot: Shot, verdict: Verdict) -> None:
    """Hold a fault to what is promised; whatever is not so is a violation."""
    _judge_end(scene, shot, verdict)
    found = reader.read_run(scene.run)
    said = reader.acknowledged(shot.ended.err) if shot.acknowledged is None else shot.acknowledged
    order = found.order
    known = {order[number - 1] for number in said if number <= len(order)} - {*shot.damaged}
    known |= {*shot.still_known}
    if not shot.has_lost_folder:
        if said and not order:
            verdict.note("has_lost", f"cases {sorted(said)} were reported, and run.json is gone")
        _judge_kept(found, known - {*shot.damaged}, verdict)
        _judge_outcomes(shot, found, verdict)
    _judge_report(scene, shot, found, known, verdict)
    if shot.repair is not None:
        shot.repair()
    ended = scene.call(scene.again)
    if left := left_after(scene.mark):
        verdict.note("has_left", f"after the second call: {left}")
    if ended.code != 0:
        verdict.note("is_completed", f"the same command: {_tail(ended)}")
    _judge_completed(scene, shot, found, known, verdict)


def _tail(ended: Ended) -> str:
    return f"exit code {ended.code}: {ended.err.strip()[-600:]}"


def _judge_end(scene: Scene, shot: Shot, verdict: Verdict) -> None:
    if left := left_after(scene.mark):
        verdict.note("has_left", f"left: {left}")
    if shot.ended.code not in shot.codes:
        verdict.note("is_recorded", f"expected {sorted(shot.codes)}: {_tail(shot.ended)}")
    if "Traceback" in shot.ended.err:
        verdict.note("is_recorded", f"a traceback: {shot.ended.err.strip()[-900:]}")


def _judge_kept(found: reader.Run, known: set[str], verdict: Verdict) -> None:
    for case_id in sorted(known):
        case = found.cases.get(case_id)
        faults = ["its folder is gone"] if case is None else case.faults()
        if faults:
            verdict.note("has_lost", f"{case_id} was reported as measured: {'; '.join(faults)}")


def _judge_outcomes(shot: Shot, found: reader.Run, verdict: Verdict) -> None:
    """Require an outcome of every launch that was under way, if the parent lived to write it."""
    if not shot.statuses or shot.ended.code is None or shot.ended.code < 0:
        return
    statuses = {
        launch.outcome["status"] if launch.outcome else None
        for case_id, case in found.cases.items()
        if case_id not in shot.damaged
        for launch in case.launches
    }
    if not statuses & {*shot.statuses} or statuses - {*shot.statuses, "finished"}:
        verdict.note("is_recorded", f"outcomes {statuses}, expected {[*shot.statuses]}")
    if found.document is None or found.document["state"] == "running":
        verdict.note("is_recorded", "run.json says nothing of the end")


def _judge_report(
    scene: Scene, shot: Shot, found: reader.Run, known: set[str], verdict: Verdict
) -> None:
    ended, results = scene.report()
    readable = [
        case.plan is not None
        and bool(case.launches)
        and all(la.records and not la.is_damaged for la in case.launches)
        for case in found.cases.values()
        if case.launches or case.result or (case.path / "plan.json").exists()
    ]
    codes = {0} if readable and all(readable) else {0, 5} if readable else {5}
    if shot.damaged:
        codes = {0, 5}
    if ended.code not in codes or "Traceback" in ended.err:
        verdict.note("is_reported", f"report, expected {codes}: {_tail(ended)}")
    figures = {each["case_id"]: each["tokens_per_second"] for each in results}
    for case_id in known:
        if figures.get(case_id) is None:
            verdict.note("has_lost", f"report does not have {case_id}: {_tail(ended)}")


def _judge_completed(
    scene: Scene, shot: Shot, before: reader.Run, known: set[str], verdict: Verdict
) -> None:
    now = reader.read_run(scene.run)
    state = (now.document or {}).get("state")
    if len(now.cases) != CASES or state != "finished":
        verdict.note("is_completed", f"{len(now.cases)} cases, run.json says {state}")
    for case_id, case in now.cases.items():
        if faults := case.faults():
            verdict.note("is_completed", f"{case_id}: {'; '.join(faults)}")
        if len(case.launches) != scene.launches:
            verdict.note("is_completed", f"{case_id}: {len(case.launches)} launches")
    for path in scene.run.rglob(".*"):
        verdict.note("is_completed", f"{path.name} was left behind")
    ended, results = scene.report()
    if ended.code != 0 or [each["outcome"] for each in results] != ["finished"] * CASES:
        verdict.note("is_reported", f"report at last: {_tail(ended)}")
    if not shot.has_lost_folder:
        for case_id, case in before.cases.items():
            after = now.cases.get(case_id, reader.Case(case.path))
            _judge_same(
                case, after, verdict, is_known=case_id in known, keeps_unsynced=shot.keeps_unsynced
            )


def _judge_same(
    before: reader.Case, now: reader.Case, verdict: Verdict, *, is_known: bool, keeps_unsynced: bool
) -> None:
    """Require that records are still there, and those of a known case with its figure."""
    for name, content in before.contents.items():
        if keeps_unsynced and not reader.is_kept(content, now.contents.values()):
            verdict.note("has_lost", f"{before.path.name}: records of {name} are nowhere")
        if is_known and now.contents.get(name) != content:
            verdict.note("has_lost", f"{before.path.name}: {name} was measured again")
    is_whole = is_known and len(before.launches) == len(now.launches)
    if is_whole and before.figure not in (None, now.figure):
        verdict.note("has_lost", f"{before.path.name}: {before.figure} became {now.figure}")
