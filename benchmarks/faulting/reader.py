"""What a folder of results holds, read with `json` and `hashlib` alone: none of trnbench's loaders.

It is written from docs/design.md and from the files, so that it does not share a mistake with them.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LAUNCH = re.compile(r"measurement(\.\d+)?\.jsonl")
ANY_RECORDS = re.compile(r"measurement.*\.jsonl")


@dataclass(slots=True)
class Launch:
    """One file of records."""

    name: str
    content: bytes
    records: list[dict[str, Any]]
    is_damaged: bool
    """A line that is no JSON object, other than a torn last one."""

    @property
    def outcome(self) -> dict[str, Any] | None:
        """The last record, if it says how the launch ended."""
        last = self.records[-1] if self.records else {}
        return last if last.get("kind") == "outcome" and not self.is_damaged else None

    @property
    def is_finished(self) -> bool:
        """Whether the launch was measured to its end."""
        begins = bool(self.records) and self.records[0].get("kind") == "header"
        return begins and self.outcome is not None and self.outcome["status"] == "finished"

    def rates(self) -> list[float]:
        """Return the steps per second of each measured block."""
        blocks = [r for r in self.records if r.get("kind") == "block" and r["purpose"] == "measure"]
        return [block["steps"] / block["seconds"] for block in blocks]


@dataclass(slots=True)
class Case:
    """One case's folder."""

    path: Path
    launches: list[Launch] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)
    """Of every file with records, those that were set aside too."""
    plan: dict[str, Any] | None = None
    plan_sha256: str | None = None
    result: dict[str, Any] | None = None
    has_whole_seal: bool = False

    @property
    def figure(self) -> float | None:
        """Tokens per second of the stored result; None without one whose seal is whole."""
        if self.result is None or not self.has_whole_seal:
            return None
        value: float | None = self.result["metrics"]["tokens_per_second"]["value"]
        return value

    def faults(self) -> list[str]:
        """Say what keeps a finished case from being read: its plan, its records, its figure."""
        said = []
        if self.plan is None:
            said.append("no plan that can be read")
        if not self.launches or not all(launch.is_finished for launch in self.launches):
            said.append("a launch without its outcome `finished`")
        elif any(la.records[0]["plan_sha256"] != self.plan_sha256 for la in self.launches):
            said.append("records of another plan")
        elif self.plan is not None and self.figure is not None:
            tokens = self.plan["workload"]["tokens_per_step"]
            rates = [rate * tokens for launch in self.launches for rate in launch.rates()]
            if not 0.999 * min(rates) <= self.figure <= 1.001 * max(rates):
                said.append(f"{self.figure:g} tokens/s are not of its blocks")
        return said


@dataclass(slots=True)
class Run:
    """A run's folder."""

    cases: dict[str, Case]
    document: dict[str, Any] | None
    """run.json; None where it cannot be read."""

    @property
    def order(self) -> list[str]:
        """The ids of the cases in the order of the suite."""
        return [case["case_id"] for case in (self.document or {}).get("cases", [])]

    @property
    def records(self) -> int:
        """How many whole lines of records there are, or were set aside."""
        return sum(
            content.count(b"\n") for case in self.cases.values() for content in
            case.contents.values()
        )  # fmt: skip


def read_run(folder: Path) -> Run:
    """Read a run's folder as far as it can be read."""
    cases = {}
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.name.startswith("."):
                cases[path.name] = _read_case(path)
    return Run(cases, _read_json(folder / "run.json"))


def _read_case(path: Path) -> Case:
    case = Case(path)
    for file in sorted(path.iterdir()):
        if not file.is_file():
            continue
        if ANY_RECORDS.fullmatch(file.name):
            case.contents[file.name] = file.read_bytes()
        if LAUNCH.fullmatch(file.name):
            case.launches.append(_read_launch(file.name, case.contents[file.name]))
    case.plan = _read_json(path / "plan.json")
    if case.plan is not None:
        case.plan_sha256 = hashlib.sha256((path / "plan.json").read_bytes()).hexdigest()
    case.result = _read_json(path / "result.json")
    if case.result is not None:
        seal = case.result.get("seal") or ""
        text = (path / "result.json").read_bytes()
        unsealed = text.replace(seal.encode(), b"0" * 64)
        case.has_whole_seal = hashlib.sha256(unsealed).hexdigest() == seal
    return case


def _read_launch(name: str, content: bytes) -> Launch:
    *lines, last = content.split(b"\n")
    records, is_damaged = [], False
    for line in [*lines, *([last] if last else [])]:
        try:
            record = json.loads(line)
            records.append(record if isinstance(record, dict) else {})
        except (ValueError, RecursionError):
            is_damaged = is_damaged or line is not last
    return Launch(name, content, records, is_damaged)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


ACKNOWLEDGED = re.compile(
    r"^\[(\d+)/\d+\]  \S+ \S+ \S+  (?:sound|doubtful|invalid): \d+ samples", re.MULTILINE
)


def acknowledged(err: str) -> set[int]:
    """Return the numbers of the cases, from 1, of which stderr says that they were measured."""
    return {int(number) for number in ACKNOWLEDGED.findall(err)}


def is_kept(before: bytes, now: Iterable[bytes]) -> bool:
    """Tell whether all whole lines that a file had are still the beginning of one."""
    whole = before[: before.rfind(b"\n") + 1]
    return any(content.startswith(whole) for content in now)
