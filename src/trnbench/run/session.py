"""A whole run: launch after launch, each in fresh processes, all on disk after each.

A case that fails is a recorded outcome and the suite goes on. What was measured before in the same
folder is not measured again.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from trnbench import __version__
from trnbench.analysis.analyze import recost
from trnbench.catalog.backends import backend_of
from trnbench.errors import DataError, UnavailableError
from trnbench.machine.describe import Devices, Machine, redact_variables
from trnbench.machine.placement import Placement, place_devices
from trnbench.machine.source import Subject
from trnbench.machine.telemetry import Recorder, open_sources
from trnbench.prices.base import utc_now
from trnbench.protocol.orders import Train
from trnbench.run.case import CaseRun, Observer
from trnbench.run.disk import MeasurementFile, StorageFull
from trnbench.run.earlier import Earlier, Retry, look_at
from trnbench.run.ending import FULL_HINT, EndedCase, Ending
from trnbench.run.environment import environment_of_rank, recorded, user_cache_folder
from trnbench.run.meeting import bound
from trnbench.run.microbench import find_all_reduce_peak
from trnbench.run.nodes import Nodes, facts_of_nodes, meeting_of
from trnbench.run.outcomes import of_refusal
from trnbench.run.results import load_result
from trnbench.run.states import States
from trnbench.run.stopping import Budget, Spending, StoppingRule
from trnbench.run.store import CaseFolder, RunFolder, measurement_name, read_plan
from trnbench.run.watch import Interruption
from trnbench.schema.measurement import SCHEMA_VERSION, Header, Launch, Outcome
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result, RunCase, RunDocument
from trnbench.units import say_bytes

TELEMETRY_SECONDS = 1.0


class Session:
    """Runs the plans of one or more suites into one folder."""

    def __init__(
        self,
        plans: Sequence[Plan],
        *,
        folder: Path,
        python: str,
        machine: Machine,
        devices: Devices,
        observer: Observer,
        interruption: Interruption,
        most_launches: int | None = None,
        spending: Spending | None = None,
        make_rule: Callable[[Plan, Budget], StoppingRule] | None = None,
        retry: Retry = "all",
        nodes: Nodes | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Prepare; nothing is written yet.

        Args:
            plans: the cases, in order; a case that is there twice is measured once.
            folder: for results; made if it is not there.
            python: the interpreter that trains.
            machine: this machine, for run.json and for where its devices are plugged in.
            devices: what the interpreter can train on, for run.json.
            observer: notified of all that happens.
            interruption: checked between events.
            most_launches: of each case, including those of earlier sessions; a later session in
                the same folder makes the rest. None makes as many as the plans say.
            spending: the dollars of all cases; two sessions of one command share them.
            make_rule: chooses a launch's blocks and its end; by default the plan's stopping rule.
            retry: which cases are measured again that failed in the folder before.
            nodes: the other nodes of the job, which have come; None: there are none.
            now: the time of day.
        """
        self._plans = list({plan.case_id: plan for plan in plans}.values())
        self._folder, self._python = folder, python
        self._machine, self._devices, self._nodes = machine, devices, nodes
        self._observer, self._interruption = observer, interruption
        rounds = max(plan.measure.launches for plan in self._plans)
        self._rounds = min(rounds, most_launches or rounds)
        self._spending = spending or Spending()
        self._unpaid: set[str] = set()
        """Ids of cases with a launch that the dollars did not pay for."""
        self._make_rule, self._retry, self._now = make_rule, retry, now
        self._storage_full: str | None = None
        self._over: dict[str, EndedCase] = {}
        """The cases that are over, by their id; their results are on disk."""
        self._earlier: dict[str, Earlier] = {}
        """Of each case that was looked at, the launches that are on disk."""
        self._reached: dict[str, bool] = {}
        """By case id, whether this session launched the case; absent: not reached yet."""
        document = _document_of(self._plans, folder, machine, devices, now())
        self._run_id, self._suites = document.run_id, document.suites
        self._states = States(document)

    def run(self) -> Ending:
        """Measure what is not measured yet.

        All cases are launched once before any is launched again, and every second round goes
        backwards: a machine that slows down in the meantime slows all of them alike.

        Raises:
            ConfigError: the folder cannot be written.
            RunError: another process measures into it, or the disk is full before the first case.
        """
        run = RunFolder.open(self._folder)
        try:
            run.require_same_suite(self._suites)
            self._states.write(run)
            self._observer.run_begins(self._folder, self._plans)
            for number, plan, launch in self._turns(run):
                if self._interruption.signal is not None:
                    break
                self._take_turn(run, number, plan, launch)
            for number, plan in enumerate(self._plans, start=1):
                if plan.case_id in self._reached:  # interrupted with some of its launches made
                    self._conclude(run, number, plan)
            self._end(run)
        except StorageFull as full:
            self._storage_full = str(full)
            run.release_reserve()
            with contextlib.suppress(StorageFull):  # there may be room for that much
                self._end(run, state="failed")
        finally:
            run.close()
        return Ending(
            cases=[self._over[p.case_id] for p in self._plans if p.case_id in self._over],
            signal=self._interruption.signal,
            storage_full=self._storage_full,
            unpaid=len(self._unpaid),
        )

    def _turns(self, run: RunFolder) -> Iterator[tuple[int, Plan, int]]:
        """Yield each launch in order: the case's number, its plan, and the launch's number.

        A case that failed before comes after all others of its round: it may fail again.
        """
        numbered = list(enumerate(self._plans, start=1))
        for launch in range(1, self._rounds + 1):
            again = []
            for number, plan in numbered if launch % 2 else reversed(numbered):
                if launch > plan.measure.launches:
                    continue
                earlier = self._earlier_of(run, plan)
                if earlier.failed is not None and not earlier.is_kept(self._retry):
                    again.append((number, plan, launch))
                else:
                    yield number, plan, launch
            yield from again

    def _take_turn(self, run: RunFolder, number: int, plan: Plan, launch: int) -> None:
        """Make one launch of a case, if it is missing, and conclude the case after its last."""
        if plan.case_id in self._over:
            return
        earlier = self._earlier_of(run, plan)
        made = earlier.seconds
        if launch <= len(made) or earlier.is_kept(self._retry):
            self._reached.setdefault(plan.case_id, False)
        elif not self._budget(plan, made).pays_for_a_launch():
            self._unpaid.add(plan.case_id)
            return
        else:
            self._launch(run, run.case(plan.case_id), number, plan, made)
        if launch == plan.measure.launches or len(made) < launch:
            self._conclude(run, number, plan)

    def _earlier_of(self, run: RunFolder, plan: Plan) -> Earlier:
        """Return what is on disk of a case's launches."""
        if plan.case_id not in self._earlier:
            self._earlier[plan.case_id] = look_at(run.case(plan.case_id), plan)
        return self._earlier[plan.case_id]

    def _launch(
        self, run: RunFolder, case: CaseFolder, number: int, plan: Plan, made: list[float]
    ) -> None:
        """Make the launch after those in `made`, if its limits allow one; add it."""
        launch = len(made) + 1
        budget = self._budget(plan, made)
        if made and budget.seconds <= 0:
            return
        self._states.set(run, plan.case_id, "running")
        self._observer.case_begins(number, plan, launch)
        self._reached[plan.case_id] = True
        try:
            began = time.perf_counter()
            try:
                outcome = self._measure(run, case, plan, launch, budget)
            finally:
                self._spending.add(budget.usd_of(time.perf_counter() - began))
        except StorageFull:
            with contextlib.suppress(DataError):  # the disk may have had no room for the plan
                self._keep(number, plan, load_result(case.path, self._run_id))
            raise
        except DataError as error:  # the plan of its first launch was taken away
            self._storage_full = str(error)
            return
        if outcome.status == "finished":
            made.append(outcome.at_seconds)
            if (case.path / measurement_name(launch + 1)).exists():  # behind one that was damaged
                made[:] = case.launches_measured(plan)

    def _budget(self, plan: Plan, made: Sequence[float]) -> Budget:
        """Return the limits of the launch after those that took the seconds in `made`."""
        return Budget.of(
            plan,
            earlier_seconds=sum(made),
            launches_left=plan.measure.launches - len(made),
            spending=self._spending,
        )

    def _measure(
        self, run: RunFolder, case: CaseFolder, plan: Plan, launch: int, budget: Budget
    ) -> Outcome:
        """Write one launch's records, from its header to its outcome, even on a full disk."""
        if launch > 1:  # by the plan of the first, which its records name
            plan = read_plan(case.path)
        plan_sha256 = case.begin(plan, launch)
        records = case.open_measurement(launch)
        try:
            records.append(
                Header(
                    schema_version=SCHEMA_VERSION,
                    trnbench_version=__version__,
                    case_id=plan.case_id,
                    plan_sha256=plan_sha256,
                    started_at=self._now().isoformat(timespec="seconds"),
                )
            )
            outcome = too_large(plan) or self._follow(plan, records, budget)
            records.append(outcome)
        except StorageFull as full:
            run.release_reserve()
            reason = f"the records could not be written: {full}"
            records.append(
                Outcome(at_seconds=0.0, status="disk_full", reason=reason, hint=FULL_HINT)
            )
            raise
        finally:
            records.close()
        return outcome

    def _follow(self, plan: Plan, records: MeasurementFile, budget: Budget) -> Outcome:
        """Start the workers, follow them to their end, and leave none."""
        order, caches = plan.order, user_cache_folder()
        with contextlib.ExitStack() as stack:
            try:
                meeting = meeting_of(plan, self._nodes)
            except UnavailableError as error:
                return of_refusal(error).outcome(0.0)
            placement = self._place(plan)
            near = placement.processors if plan.measure.numa_binding == "node" else ()
            seats = bound(stack.enter_context(meeting).seats, near)
            own = [seat for seat in seats if seat.node == 0]
            variables = [environment_of_rank(order, seat, os.environ, caches) for seat in own]
            told = recorded(variables[0])
            records.append(
                Launch(
                    at_seconds=0.0,
                    variables=redact_variables(told),
                    links=placement.links,
                    all_reduce_peak=find_all_reduce_peak(order, self._devices.found),
                    nodes=facts_of_nodes(plan, self._nodes, self._machine, self._devices),
                )
            )
            tasks = [Train(order=order, seat=seat) for seat in seats]
            job = stack.enter_context(meeting.start(self._python, tasks, variables, self._nodes))
            recorder = _recorder(plan, job.pids, told)
            if recorder is not None:
                stack.callback(recorder.close)
            return CaseRun(
                plan,
                records,
                job,
                self._interruption,
                self._observer,
                recorder=recorder,
                budget=budget,
                rule=self._make_rule(plan, budget) if self._make_rule else None,
            ).follow()

    def _place(self, plan: Plan) -> Placement:
        """Find where the devices of several ranks of a node are plugged in."""
        ranks, chips = plan.parallel.ranks_per_node, self._machine.chips
        if ranks == 1:
            return Placement()
        first, instance = plan.order.device_index or 0, self._machine.instance
        return place_devices(plan.order.backend, first, ranks, chips.neuron, instance)

    def _conclude(self, run: RunFolder, number: int, plan: Plan) -> None:
        """Write the result of a case that is over, once."""
        if plan.case_id in self._over:
            return
        case = run.case(plan.case_id)
        try:
            result = load_result(case.path, self._run_id)
        except DataError as error:  # its files were taken away or damaged while it was measured
            self._storage_full = str(error)
            self._states.set(run, plan.case_id, "unreadable")
            return
        if not self._reached[plan.case_id]:
            result = recost(result, plan.price, plan.price_reason)
        case.write_result(result)
        status: str = result.outcome.status
        if status == "finished" and len(result.launches) < plan.measure.launches:
            if self._interruption.signal is not None:
                status = "interrupted"
            elif plan.case_id in self._unpaid:
                status = "out_of_budget"
        self._states.set(run, plan.case_id, status)
        self._keep(number, plan, result)

    def _keep(self, number: int, plan: Plan, result: Result) -> None:
        self._over[plan.case_id] = EndedCase.of(result)
        self._observer.case_ends(
            number, result, was_measured_before=not self._reached.get(plan.case_id, False)
        )

    def _end(self, run: RunFolder, state: str | None = None) -> None:
        ended_at = self._now().isoformat(timespec="seconds")
        is_stopped = self._interruption.signal is not None
        self._states.end(run, ended_at, state, is_stopped=is_stopped)


def _document_of(
    plans: Sequence[Plan], folder: Path, machine: Machine, devices: Devices, now: datetime
) -> RunDocument:
    """Return what run.json says of a run that begins."""
    return RunDocument(
        trnbench_version=__version__,
        run_id=folder.resolve().name,
        suites=list(dict.fromkeys(plan.suite for plan in plans)),
        started_at=now.isoformat(timespec="seconds"),
        ended_at=None,
        state="running",
        machine=machine.to_json(),
        devices=[
            {"backend": d.backend, "name": d.device_name, "count": d.device_count}
            for d in devices.found
        ],
        versions=devices.versions,
        cases=[RunCase(case_id=plan.case_id, status="waiting") for plan in plans],
    )


def too_large(plan: Plan) -> Outcome | None:
    """Refuse a job on the CPU that does not fit the memory: it would swap, or be killed."""
    is_host = backend_of(plan.order.backend).is_host
    if not is_host or plan.prediction.memory_verdict != "does_not_fit":
        return None
    needed, there = plan.prediction.memory_bytes, plan.device.memory_bytes or 0
    about = "an unknown amount" if needed is None else say_bytes(needed)
    return Outcome(
        at_seconds=0.0,
        status="does_not_fit",
        reason=f"it needs about {about} and this machine has {say_bytes(there)}; "
        "it was not started",
        hint="lower workload.micro_batch_size or sequence_length, or choose a smaller model",
    )


def _recorder(plan: Plan, pids: Sequence[int], variables: Mapping[str, str]) -> Recorder | None:
    """Open the telemetry beside a case, unless the plan has none."""
    if not plan.measure.telemetry:
        return None
    subject = Subject(
        worker_pids=tuple(pids),
        first_device=plan.order.device_index or 0,
        device_count=plan.device.devices_used // plan.parallel.nodes,
        period_seconds=TELEMETRY_SECONDS,
        environment={**os.environ, **variables},
        neuron_tag_filter=variables.get("NEURON_PROCESS_TAG", ".*"),
    )
    return Recorder(open_sources(subject), period_seconds=TELEMETRY_SECONDS)
